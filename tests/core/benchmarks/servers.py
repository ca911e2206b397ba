"""A local OpenAI-compatible service for tests."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def service(reply, *, failures=(), headers=()):
    """Yields (url, requests).

    `reply(body)` is the answer, or, if it is a dict, all that is sent; `failures` are codes sent
    first, and `headers` go with them.
    """
    requests = []
    to_fail = list(failures)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                requests.append({"path": self.path, "body": body, "headers": dict(self.headers)})
                code = to_fail.pop(0) if to_fail else 200
            content = {"error": {"message": "busy"}}
            if code == 200:
                said = reply(body)
                message = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
                content = said if isinstance(said, dict) else message
            data = json.dumps(content).encode()
            self.send_response(code)
            for name, value in headers if code != 200 else ():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
