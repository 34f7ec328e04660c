//! Secrets of functions: a file for each in a folder, or the environment.
//!
//! Never here: keeping one; what was read is given away.

use std::io::Read as _;
use std::path::Path;

/// The largest file of a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The value of a secret as it is now: of the file of its name in `folder`, without the line break at
/// its end, else of the environment variable `EDGEBUS_SECRET_` and its name.
#[must_use]
pub fn secret(folder: Option<&Path>, name: &str) -> Option<String> {
    let own = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    // A name is no path, whoever wrote it.
    if let Some(folder) = folder.filter(|_| name.bytes().all(own))
        && let Some(value) = secret_file(&folder.join(name))
    {
        return Some(value);
    }
    std::env::var(format!("EDGEBUS_SECRET_{name}")).ok()
}

fn secret_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
    let reason = match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
        Ok(bytes) if bytes as u64 > SECRET_BYTES_MAX => {
            format!("it has more than {SECRET_BYTES_MAX} bytes")
        }
        Ok(_) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            return Some(line.strip_suffix('\r').unwrap_or(line).to_owned());
        }
    };
    tracing::error!(file = %path.display(), %reason, "the secret can't be read");
    None
}
