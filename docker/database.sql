-- The user as whom the server, backups and migrations work: the owner of what is in the database,
-- who can do nothing beyond it. As PostgreSQL's own user anybody who gets a statement in, be it by
-- a foreign backup, could run programs and read files. What an earlier version left there is his too.
do $$ declare each regclass; begin
    if not exists (select from pg_roles where rolname = 'mlflow') then
        create role mlflow login;
    end if;
    execute format('alter database %I owner to mlflow', current_database());
    grant set on parameter session_replication_role to mlflow; -- migrate.py copies in any order
    for each in select oid from pg_class where relkind = 'r'
            and relnamespace = 'public'::regnamespace and relowner <> 'mlflow'::regrole loop
        execute format('alter table %s owner to mlflow', each);
    end loop;
end $$;
