use quipu::Host;
use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, examples, guest};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A host with an HTTP server on its own port.
pub struct Server {
    pub host: Host,
    pub url: String,
    client: reqwest::Client,
}

/// The response.
pub struct Answered {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Server {
    pub async fn start(host: Host, options: Options) -> Self {
        Self::start_until(host, options, std::future::pending())
            .await
            .0
    }

    /// A host with an HTTP server that shuts down when `shutdown` completes.
    pub async fn start_until(
        host: Host,
        options: Options,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> (Self, JoinHandle<anyhow::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = host.clone();
        let serving = tokio::spawn(quipu_server::serve(listener, serving, options, shutdown));
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        (Self { host, url, client }, serving)
    }

    /// A host without deciders.
    pub async fn empty() -> Self {
        Self::start(Place::memory().host().await, Options::default()).await
    }

    /// A host on which the guest `account` is active.
    pub async fn bank() -> Self {
        Self::start(Place::memory().bank().await, Options::default()).await
    }

    /// A host on which a guest of `guests/` serves the category `probe`.
    pub async fn probe(name: &str) -> Self {
        let host = Place::memory().host().await;
        examples::deploy(&host, guest::component(name)).await;
        Self::start(host, Options::default()).await
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Answered {
        send(self.request("GET", path)).await
    }

    pub fn post(&self, path: &str, json: &str) -> RequestBuilder {
        self.request("POST", path)
            .header("Content-Type", "application/json")
            .body(json.to_owned())
    }

    /// A command to a stream.
    pub fn command(&self, stream: &str, name: &str, data: &str) -> RequestBuilder {
        let body = format!("{{\"type\":\"{name}\",\"data\":{data}}}");
        self.post(&format!("/v1/streams/{stream}/commands"), &body)
    }

    /// NDJSON.
    pub async fn lines(&self, lines: &str) -> Answered {
        let request = self
            .request("POST", "/v1/commands")
            .header("Content-Type", "application/x-ndjson");
        send(request.body(lines.to_owned())).await
    }

    /// Opens account 1.
    pub async fn opened(self) -> Self {
        send(self.command("account-1", "open", "{\"owner\":\"ann\"}"))
            .await
            .ok();
        self
    }
}

pub async fn send(request: RequestBuilder) -> Answered {
    let response = request.send().await.unwrap();
    Answered {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}

impl Answered {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Checks that the response is a success, and returns its body.
    pub fn ok(&self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            self.text
        );
        self.json()
    }

    /// Checks that the response is a complete and consistent problem document with this status and
    /// code.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("urn:quipu:problem:{code}"));
        for member in ["title", "detail"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{problem}");
        }
        problem
    }

    /// The lines of NDJSON.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), "application/x-ndjson");
        let lines = self.text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
