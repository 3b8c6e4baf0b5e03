"""S3 on loopback: moto's server, and a bucket whose objects a test can damage and take away."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
BUCKET, FOLDER = "team", "detector"


@dataclass
class Bucket:
    """The bucket, by a client that is not DVC's."""

    endpoint: str
    client: Any

    def objects(self) -> list[str]:
        """Give the names of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def key(self, md5: str) -> str:
        """Give the name of the object in which DVC keeps what has this hash."""
        return f"{FOLDER}/files/md5/{md5[:2]}/{md5[2:]}"

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def write(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)

    @contextmanager
    def damaged(self, *md5s: str) -> Iterator[None]:
        """Change one byte in the middle of each of these objects, and mend them at the end."""
        with self._kept(md5s) as whole:
            for key, content in whole.items():
                middle = len(content) // 2
                byte = bytes([content[middle] ^ 1])
                self.write(key, content[:middle] + byte + content[middle + 1 :])
            yield

    @contextmanager
    def missing(self, *md5s: str) -> Iterator[None]:
        """Take these objects away, and put them back at the end."""
        with self._kept(md5s) as whole:
            for key in whole:
                self.delete(key)
            yield

    @contextmanager
    def _kept(self, md5s: tuple[str, ...]) -> Iterator[dict[str, bytes]]:
        whole = {key: self.read(key) for key in map(self.key, md5s)}
        try:
            yield whole
        finally:
            for key, content in whole.items():
                self.write(key, content)


@contextmanager
def serve() -> Iterator[Bucket]:
    """Serve an empty bucket at a free port of loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        yield Bucket(endpoint, client)
    finally:
        server.stop()
