"""The whole product in a browser: pages that read run folders, queue jobs, and ask a server for answers."""
