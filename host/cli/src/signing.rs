use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer, SigningKey};

use quipu::model::{PublicKey, Signature, text_without_mark};

/// The suffix of a signature's file name, after the component's name.
const EXTENSION: &str = "sig";

/// Make a key that signs components
///
/// Writes an ed25519 key as PKCS #8 in PEM, readable only by its owner, and prints the public key:
/// a line for `keys` of the host's configuration. A key from `openssl genpkey -algorithm ed25519`
/// works as well.
#[derive(Debug, Args)]
pub struct Key {
    /// The file to write; an existing file is not replaced
    file: PathBuf,
}

impl Key {
    pub fn run(self) -> Result<()> {
        let key = SigningKey::from_bytes(&rand::random());
        let pem = key.to_pkcs8_pem(LineEnding::LF);
        let pem = pem.map_err(|error| anyhow::anyhow!("the key can't be written: {error}"))?;
        let path = self.file.display();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file);
        let mut file = file.with_context(|| format!("{path}"))?;
        let written = file
            .write_all(pem.as_bytes())
            .and_then(|()| file.sync_all());
        written.with_context(|| format!("{path}"))?;
        writeln!(io::stdout(), "{}", public(&key))?;
        Ok(())
    }
}

/// Sign a component
///
/// Writes the signature to FILE.sig next to the component, where `deploy`, `preflight`, `shadow`
/// and `serve --modules` find it. It is an ed25519 signature of the component's bytes, as one line
/// of text: `ed25519`, the public key and the signature, both in base64.
#[derive(Debug, Args)]
pub struct Sign {
    /// The component
    file: PathBuf,
    /// The private key, as `quipu key` writes it
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
}

impl Sign {
    pub fn run(self) -> Result<()> {
        let path = self.key.display();
        let pem = std::fs::read_to_string(&self.key).with_context(|| format!("{path}"))?;
        let Ok(key) = SigningKey::from_pkcs8_pem(text_without_mark(&pem)) else {
            bail!("{path} is not an ed25519 key in PEM (PKCS #8); `quipu key` makes one");
        };
        let path = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| format!("{path}"))?;
        let signature = Signature {
            key: public(&key),
            bytes: key.sign(&bytes).to_bytes(),
        };
        let signature_file = self.file.with_added_extension(EXTENSION);
        let path = signature_file.display();
        std::fs::write(&signature_file, format!("{signature}\n"))
            .with_context(|| format!("{path}"))?;
        writeln!(io::stdout(), "{path}: signed by {}", signature.key)?;
        Ok(())
    }
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// The signature next to a component, if there is one.
pub fn read_signature(component: &Path) -> Result<Option<Signature>> {
    let file = component.with_added_extension(EXTENSION);
    let path = file.display();
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let signature = text_without_mark(&text)
                .parse()
                .with_context(|| format!("{path}"))?;
            Ok(Some(signature))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{path}")),
    }
}
