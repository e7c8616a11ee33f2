//! The files of the host's certificate.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::config::TlsFiles;
use super::exit::WrongUse;
use quipu_server::tls::{Clients, Identity};

/// A file with certificates or a key may have this many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the certificate of the host; none if none is configured.
///
/// # Errors
/// When a file can't be read, or does not have what belongs there. The error names the key of the
/// configuration and the file.
pub fn load(files: &TlsFiles) -> Result<Option<Identity>, WrongUse> {
    let (Some(certificate), Some(key)) = (&files.certificate, &files.key) else {
        return Ok(None);
    };
    let chain = read("tls.certificate", certificate)?;
    let private = read("tls.key", key)?;
    let clients = match &files.client_authorities {
        None => None,
        Some(path) => {
            let name = "tls.client_authorities";
            let clients = Clients::from_pem(&read(name, path)?, files.client_required);
            let wrong = |error| WrongUse(format!("{name}: {}: {error}", path.display()));
            Some(clients.map_err(wrong)?)
        }
    };
    let identity = Identity::from_pem(&chain, &private, clients).map_err(|error| {
        let (name, path) = match error.is_about_key() {
            true => ("tls.key", key),
            false => ("tls.certificate", certificate),
        };
        WrongUse(format!("{name}: {}: {error}", path.display()))
    })?;
    Ok(Some(identity))
}

/// Reads a file in PEM.
///
/// # Errors
/// When it can't be read, or is too large.
pub fn read(name: &str, path: &Path) -> Result<Vec<u8>, WrongUse> {
    read_small(path).map_err(|why| WrongUse(format!("{name}: {why}")))
}

/// Reads a small file.
///
/// # Errors
/// When it can't be read, or is too large. The text names the file.
pub fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(format!("the file can't be read: {error}")))?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(wrong(format!(
            "the file has more than {FILE_BYTES_MAX} bytes"
        ))),
        false => Ok(bytes),
    }
}
