//! Each source, good and bad.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn command(words: &[&str]) -> SecretSource {
    SecretSource::Command(words.iter().map(|&word| word.to_owned()).collect())
}

async fn check(source: SecretSource, expected: Result<&str, &str>) {
    let found = read(&source).await.map_err(|error| error.to_string());
    let found = found.as_ref().map(|secret| secret.reveal().as_str()).map_err(String::as_str);
    assert_eq!(found, expected, "{source:?}");
}

#[tokio::test]
async fn commands() {
    check(command(&["printf", "hunter2"]), Ok("hunter2")).await;
    check(command(&["echo", "hunter2"]), Ok("hunter2")).await;
    check(command(&["printf", "two\n\n"]), Ok("two\n")).await;
    // No shell: the dollar sign is the secret's own.
    check(command(&["echo", "$HOME"]), Ok("$HOME")).await;
    check(command(&[]), Err("expected a command that prints a secret, found an empty list")).await;
    check(command(&["true"]), Err("expected a secret in the output of the command `true`, found it empty")).await;
    check(command(&["echo"]), Err("expected a secret in the output of the command `echo`, found it empty")).await;
    check(
        command(&["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]),
        Err("expected a secret from the command `sh`, and it ended with exit status: 3"),
    )
    .await;
    check(
        command(&["head", "-c", "65537", "/dev/zero"]),
        Err("expected a secret of at most 65536 bytes in the output of the command `head`, found more"),
    )
    .await;
    check(
        command(&["yes"]),
        Err("expected a secret of at most 65536 bytes in the output of the command `yes`, found more"),
    )
    .await;
    check(
        command(&["printf", "\\377"]),
        Err("expected a secret in the output of the command `printf` as UTF-8 text, found other bytes"),
    )
    .await;
    let missing = read(&command(&["./no-such-program"])).await.unwrap_err().to_string();
    assert!(missing.starts_with("expected a secret from the command `./no-such-program`, and it cannot be run: "));
}

#[tokio::test]
async fn a_command_that_does_not_end_is_left() {
    let forever = ["3600".to_owned()];
    let error = super::command("sleep", &forever, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "expected a secret from the command `sleep` within 0 s, found it still running");
}

#[tokio::test]
async fn files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    check(SecretSource::File(write("plain", b"hunter2")), Ok("hunter2")).await;
    check(SecretSource::File(write("line", b"hunter2\n")), Ok("hunter2")).await;
    check(SecretSource::File(write("dos", b"hunter2\r\n")), Ok("hunter2")).await;
    check(SecretSource::File(write("spaces", b" hunter2 \n\n")), Ok(" hunter2 \n")).await;
    check(SecretSource::File(write("long", &[b'x'; 65536])), Ok(&"x".repeat(65536))).await;
    let check_error = async |path: PathBuf, expected: &str| {
        let shown = path.display().to_string();
        check(SecretSource::File(path), Err(&expected.replace("PATH", &shown))).await;
    };
    check_error(write("empty", b""), "expected a secret in the file `PATH`, found it empty").await;
    check_error(write("newline", b"\n"), "expected a secret in the file `PATH`, found it empty").await;
    check_error(
        write("longer", &[b'x'; 65537]),
        "expected a secret of at most 65536 bytes in the file `PATH`, found more",
    )
    .await;
    check_error(write("bytes", b"\xff"), "expected a secret in the file `PATH` as UTF-8 text, found other bytes").await;
    check_error(dir.path().to_owned(), "expected a secret in the file `PATH`, found something that is no regular file")
        .await;
    check_error(
        dir.path().join("missing"),
        "expected a secret in the file `PATH`, and it cannot be read: No such file or directory (os error 2)",
    )
    .await;
}

#[tokio::test]
async fn variables() {
    // The environment of a test cannot be changed safely; cargo sets this one.
    check(SecretSource::Env("CARGO_PKG_NAME".to_owned()), Ok("safe-boundary")).await;
    check(
        SecretSource::Env("SAFE_BOUNDARY_NO_SUCH".to_owned()),
        Err("expected a secret in the environment variable `SAFE_BOUNDARY_NO_SUCH`, found no such variable"),
    )
    .await;
}

#[test]
fn who_may_read_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "x").unwrap();
    let check = |mode: u32, expected: bool| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(is_world_readable(&path), expected, "{mode:o}");
    };
    check(0o600, false);
    check(0o640, false);
    check(0o644, true);
    assert!(!is_world_readable(&dir.path().join("missing")));
}
