"""Files go through the server: it sends no client to the store.

To whatever lies at s3:// MLflow's server signs addresses, by which clients load files past it, and
its clients do so wherever the server can. Here nobody but the server reaches the store. MLflow has
no option for that, but asks plugins about other places: at proxied-s3://BUCKET/PATH is what lies
at s3://BUCKET/PATH, without these addresses. MLflow finds this by proxied-0.dist-info, beside it.
"""

from typing import Any

from botocore.exceptions import ClientError
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository


class ProxiedS3(ArtifactRepository):
    """An S3 store for the server alone."""

    def __init__(self, artifact_uri: str, *words: Any, **named: Any) -> None:
        super().__init__(artifact_uri, *words, **named)
        self._store = S3ArtifactRepository(artifact_uri.removeprefix("proxied-"), *words, **named)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Take one file."""
        self._store.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Take a folder."""
        self._store.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """What lies below a path."""
        return list(self._store.list_artifacts(path))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        try:
            self._store._download_file(remote_file_path, local_path)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            # Else a 500, which MLflow's clients ask for again for four minutes.
            raise MlflowException(
                f"there is no file {remote_file_path}", RESOURCE_DOES_NOT_EXIST
            ) from error

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Remove what lies at a path and below."""
        self._store.delete_artifacts(artifact_path)
