"""An OpenTelemetry collector as small as may be: takes OTLP over HTTP in protobuf and keeps the spans."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass
class Span:
    """A span as people think of it: ids in hex, times in seconds."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start: float
    end: float
    attributes: dict
    resource: dict
    failed: bool
    sampled: bool


def plain(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Collector:
    def __init__(self):
        self.spans, self.headers, self.faults = [], [], []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    collector.take(self.path, dict(self.headers.items()), body)
                    status, answer = 200, ExportTraceServiceResponse().SerializeToString()
                except Exception as fault:
                    collector.faults.append(fault)
                    status, answer = 400, b""
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, name="collector", daemon=True)
        self.thread.start()

    def take(self, path, headers, body):
        assert path == "/v1/traces" and headers["content-type"] == "application/x-protobuf", (path, headers)
        request = ExportTraceServiceRequest.FromString(body)
        assert request.resource_spans and not UnknownFieldSet(request)
        self.headers.append(headers)
        for of_resource in request.resource_spans:
            resource = plain(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    assert not UnknownFieldSet(span), "a field that the standard does not have"
                    self.spans.append(
                        Span(
                            name=span.name,
                            kind=Proto.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                            trace=span.trace_id.hex(),
                            id=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            start=span.start_time_unix_nano / 1e9,
                            end=span.end_time_unix_nano / 1e9,
                            attributes=plain(span.attributes),
                            resource=resource,
                            failed=span.status.code == Status.STATUS_CODE_ERROR,
                            sampled=bool(span.flags & 1),
                        )
                    )

    def of(self, request_id):
        """The spans of a request, in order of their beginning."""
        own = [span for span in list(self.spans) if span.attributes.get("smoother.request_id") == request_id]
        return sorted(own, key=lambda span: (span.start, span.end))

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)
        if self.faults:
            raise ExceptionGroup("the collector was sent what it cannot read", self.faults)
