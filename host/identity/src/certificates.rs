//! Client certificates: from the names in one to a caller.

use quipu::access::{Caller, Identified};
use quipu::model::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::file;

/// Most names that are read from a certificate.
const NAMES_MAX: usize = 100;

/// The names in a client certificate. The connection has verified it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    dns: Vec<String>,
    uris: Vec<String>,
    common_name: Option<String>,
    expires_s: u64,
}

impl Names {
    /// Reads the names in a certificate; none when it is malformed.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = Self {
            expires_s: u64::try_from(certificate.validity().not_after.timestamp()).ok()?,
            ..Self::default()
        };
        let mut common = certificate.subject().iter_common_name();
        names.common_name = match (common.next(), common.next()) {
            (Some(only), None) => only.as_str().ok().map(str::to_owned),
            _ => None,
        };
        if let Ok(Some(others)) = certificate.subject_alternative_name() {
            for name in others.value.general_names.iter().take(NAMES_MAX) {
                match name {
                    GeneralName::DNSName(name) => names.dns.push(name.to_ascii_lowercase()),
                    GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                    _ => {}
                }
            }
        }
        Some(names)
    }

    /// When the certificate expires, in seconds since 1970 UTC.
    pub fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// The caller with this certificate, by the first rule that applies.
    pub fn caller(&self, rules: &[file::Certificate]) -> Option<Caller> {
        let (rule, name) = rules
            .iter()
            .find_map(|rule| Some((rule, self.matched(rule)?)))?;
        let name = match &rule.name {
            Some(name) => name.clone(),
            None => format!("certificate:{name}"),
        };
        let identified = Identified {
            name,
            grant: rule.grant(),
            attributes: Default::default(),
            expires_at: Some(Timestamp(self.expires_s.saturating_mul(1_000_000))),
        };
        Caller::identified(identified).ok()
    }

    fn matched<'a>(&self, rule: &'a file::Certificate) -> Option<&'a str> {
        let file::Certificate {
            dns,
            uri,
            common_name,
            ..
        } = rule;
        let has_dns = |name: &&String| self.dns.contains(&name.to_ascii_lowercase());
        let dns = dns.as_ref().filter(has_dns);
        let uri = uri.as_ref().filter(|uri| self.uris.contains(uri));
        let common = common_name.as_ref();
        let common = common.filter(|name| self.common_name.as_ref() == Some(name));
        dns.or(uri).or(common).map(String::as_str)
    }
}
