"""What a deployment needs beside the server."""
