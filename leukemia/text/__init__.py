"""Text that others chose, shown as text: on pages, in Markdown, in spreadsheets and on terminals.

Whoever owns a data set names its classes, subjects and files, and whoever may log to a tracking
server fills its tags. No other room escapes anything by itself.
"""
