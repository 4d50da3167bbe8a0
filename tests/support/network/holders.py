"""Delays the shutdown of an instance: an open stream, and connections without requests."""

from __future__ import annotations

import queue
import socket
import threading
from types import TracebackType

import grpc
from contact.v1 import contact_service_pb2_grpc, recipients_pb2

from . import frames

ANSWER_SECONDS = 10


class OpenStream:
    """A StreamRecipients that sends requests now and then, and never half-closes."""

    def __init__(self, address: str, token: str, customer: str) -> None:
        self._customer = customer
        self._requests: queue.Queue[recipients_pb2.StreamRecipientsRequest | None] = queue.Queue()
        self._answers: queue.Queue[int | grpc.RpcError] = queue.Queue()
        self._channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
        stub = contact_service_pb2_grpc.ContactServiceStub(self._channel)
        metadata = [("authorization", f"Bearer {token}")]
        self._call = stub.StreamRecipients(iter(self._requests.get, None), metadata=metadata)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.request()

    def __enter__(self) -> OpenStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._channel.close()
        self._thread.join(ANSWER_SECONDS)

    def request(self) -> None:
        """Sends one more number and waits for its response."""
        self._requests.put(
            recipients_pb2.StreamRecipientsRequest(
                customer_numbers=[self._customer], purpose=recipients_pb2.PURPOSE_INVOICE
            )
        )
        answer = self._answers.get(timeout=ANSWER_SECONDS)
        assert isinstance(answer, int), f"the stream was cut off: {answer}"
        assert answer == 1

    def end(self) -> grpc.StatusCode:
        """Returns the status with which the server ended it."""
        answer = self._answers.get(timeout=ANSWER_SECONDS)
        assert isinstance(answer, grpc.RpcError), "the stream goes on"
        return answer.code()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._answers.put(len(response.results))
        except grpc.RpcError as error:
            self._answers.put(error)


class IdleConnections:
    """One connection after its handshake, and one without any bytes."""

    def __init__(self, address: str) -> None:
        self.silent = connect(address)
        self.greeted = connect(address)
        self.greeted.sendall(frames.HANDSHAKE)

    def __enter__(self) -> IdleConnections:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.silent.close()
        self.greeted.close()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
