//! An issuer of JSON web tokens on this machine.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A private key that only tests use.
const RSA: &[u8] = include_bytes!("issuer.rsa.pk8");

/// A key that signs tokens.
pub enum Key {
    /// ES256.
    Curve(EcdsaKeyPair),
    /// EdDSA.
    Edwards(Ed25519KeyPair),
    /// RS256.
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// A new key for ES256.
    pub fn curve() -> Self {
        let random = SystemRandom::new();
        let method = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(method, &random).unwrap();
        Self::Curve(EcdsaKeyPair::from_pkcs8(method, made.as_ref(), &random).unwrap())
    }

    /// A new key for EdDSA.
    pub fn edwards() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Edwards(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    /// The key for RS256, always the same.
    pub fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(RSA).unwrap()))
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Curve(_) => "ES256",
            Self::Edwards(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
        }
    }

    /// Its public part, as a member of a key set.
    pub fn public(&self, id: &str) -> Value {
        let mut public = match self {
            Self::Curve(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) })
            }
            Self::Edwards(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().as_ref()) })
            }
            Self::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": encoded(public.n), "e": encoded(public.e) })
            }
        };
        public["kid"] = id.into();
        public["use"] = "sig".into();
        public
    }

    /// Signs a header and claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Signs the texts of a header and of claims.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let (bytes, random) = (message.as_bytes(), SystemRandom::new());
        let signature = match self {
            Self::Curve(key) => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Self::Edwards(key) => key.sign(bytes).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature);
                signed.unwrap();
                signature
            }
        };
        format!("{message}.{}", encoded(signature))
    }
}

/// Bytes in the form in which tokens have them.
pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// An issuer that answers with its OpenID configuration and its keys.
pub struct Issuer {
    /// Its address, which is the claim `iss`.
    pub url: String,
    keys: Arc<Mutex<Value>>,
    requests: Arc<Mutex<u64>>,
    serving: JoinHandle<()>,
}

impl Issuer {
    /// Starts an issuer with a key set.
    pub async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(keys));
        let requests = Arc::new(Mutex::new(0));
        let (own, set, count) = (url.clone(), Arc::clone(&keys), Arc::clone(&requests));
        let serving = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4_096];
                let read = socket.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let body = match head.split(' ').nth(1) {
                    Some("/.well-known/openid-configuration") => {
                        json!({ "issuer": own, "jwks_uri": format!("{own}/keys") })
                    }
                    _ => {
                        *count.lock().unwrap() += 1;
                        set.lock().unwrap().clone()
                    }
                };
                let body = body.to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self {
            url,
            keys,
            requests,
            serving,
        }
    }

    /// Replaces its keys.
    pub fn rotate(&self, keys: Value) {
        *self.keys.lock().unwrap() = keys;
    }

    /// How often its keys were requested.
    pub fn requests(&self) -> u64 {
        *self.requests.lock().unwrap()
    }

    /// The claims of a token that is valid for an hour.
    pub fn claims(&self, subject: &str) -> Value {
        let now = now_s();
        json!({ "iss": self.url, "aud": "quipu", "sub": subject, "iat": now, "exp": now + 3_600 })
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
