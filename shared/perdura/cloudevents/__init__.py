"""Messages between functions: strict codec, type catalogue, storage notifications (serverless.md §1, §3)."""
