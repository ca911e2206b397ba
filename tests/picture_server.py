"""A server of pictures, well-behaved and not, on the loopback interface."""

import contextlib
import http.server
import io
import threading
import time
from types import SimpleNamespace


class _Pictures(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {
            "/a.png": (200, {"Content-Type": "image/png"}, self.server.png),
            "/page": (200, {"Content-Type": "text/html"}, b"<html></html>"),
            "/missing": (404, {"Content-Type": "image/png"}, b""),
            "/elsewhere": (302, {"Location": self.server.elsewhere}, b""),
            "/near": (302, {"Location": "/a.png"}, b""),
            "/loop": (302, {"Location": "/loop"}, b""),
            "/file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/packed": (200, {"Content-Type": "image/png", "Content-Encoding": "gzip"}, b"\x1f"),
            "/large": (200, {"Content-Type": "image/png", "Content-Length": "99999999"}, b""),
        }
        self.server.asked.append(self.path)
        if self.path == "/slow":
            time.sleep(1)
        if self.path == "/endless":
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        status, headers, body = answers.get(self.path, answers["/missing"])
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has left
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve_pictures(picture):
    """Serves a picture and whatever else a client must cope with; yields addresses and log."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pictures)
    port = server.server_address[1]
    server.png = buffer.getvalue()
    server.elsewhere = f"http://localhost:{port}/a.png"
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield SimpleNamespace(
            url=lambda path: f"http://127.0.0.1:{port}{path}",
            png=server.png,
            picture=picture,
            asked=server.asked,
            server=server,
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
