use super::{Error, Result};
use quipu_model::{PublicKey, Signature};

/// A signature as it is stored.
pub(super) fn signature(key: &[u8], bytes: &[u8]) -> Result<Signature> {
    let damaged = |_| Error::Damaged("a signature of a module has another length".to_owned());
    Ok(Signature {
        key: PublicKey(key.try_into().map_err(damaged)?),
        bytes: bytes.try_into().map_err(damaged)?,
    })
}
