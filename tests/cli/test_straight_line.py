"""Every command once, in the order of a life, for programs: each line an object."""

from tests.cli.stage import User, checkpoint


def test_smoke(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 1)
    print(user.ok("upload", source, "--as", "smoke"))
    print(user.ok("audit", "smoke"))
    print(user.ok("upload", source, "--as", "smoke"))
