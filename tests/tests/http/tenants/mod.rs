//! Tenants: stores of their own, which one host serves.

mod isolation;
mod life;
mod limits;

use std::sync::Arc;

use quipu::Host;
use quipu::access::{Grant, Role};
use quipu::store;
use quipu_server::{Limiter, Limits, OpenedTenant, Opener, Options, TenantLimits, TenantOptions};
use quipu_tests::Place;
use quipu_tests::place::compiled;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::access::{EVENT, token};
use crate::server::{Answered, Server, send};

/// A server with tenants.
pub struct Tenanted {
    pub server: Server,
    /// An admin token of the main store.
    pub root: String,
    /// The limits of its callers, and of those of its tenants.
    pub limiter: Arc<Limiter>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

pub fn options(place: &Place, open_max: usize) -> TenantOptions {
    options_of(place, open_max, |_| (TenantLimits::default(), None))
}

/// Options with limits and shares that tenants have of their own, by their names.
pub fn options_of(
    place: &Place,
    open_max: usize,
    own: fn(&str) -> (TenantLimits, Option<usize>),
) -> TenantOptions {
    let open: Opener = Arc::new(move |url, name, limiter| {
        Box::pin(async move {
            let (limits, share) = own(&name);
            limiter.replace(limits);
            let builder = Host::builder().opened_store(store::open(&url).await?);
            let host = builder.cache_dir(compiled()).build().await?;
            let rules = Arc::default();
            Ok(OpenedTenant { host, rules, share })
        })
    });
    TenantOptions {
        store: place.url().parse().unwrap(),
        place: place.of_tenants(),
        open_max,
        share: 8,
        identities: false,
        open,
    }
}

impl Tenanted {
    pub async fn start(place: &Place, open_max: usize) -> Self {
        Self::with(place, options(place, open_max)).await
    }

    pub async fn with(place: &Place, tenants: TenantOptions) -> Self {
        let host = place.host().await;
        // Some tests are refused very often.
        let limiter = Arc::new(Limiter::new(Limits {
            failed_logins_per_minute: 0,
            ..Limits::default()
        }));
        let options = Options {
            tenants: Some(tenants),
            limits: Arc::clone(&limiter),
            ..Options::default()
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let (server, serving) = Server::start_until(host, options, stopped).await;
        let number = server.host.tokens().list().await.unwrap().len();
        let root = token(&server, &format!("root-{number}"), Grant::of(Role::Admin)).await;
        Self {
            server,
            root,
            limiter,
            stop,
            serving,
        }
    }

    /// Shuts down, with all tenants.
    pub async fn ended(self) {
        drop(self.stop);
        self.serving.await.unwrap().unwrap();
    }

    /// Creates a tenant; returns its first token.
    pub async fn create(&self, name: &str) -> String {
        let body = json!({ "name": name }).to_string();
        let created = self.server.post("/v1/tenants", &body);
        let created = send(created.bearer_auth(&self.root)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        created.json()["token"].as_str().unwrap().to_owned()
    }

    /// A request about tenants, with a reason.
    pub async fn manage(&self, method: &str, path: &str) -> Answered {
        let request = self.server.request(method, &format!("/v1/tenants{path}"));
        let request = request.header("Quipu-Reason", "a test");
        send(request.bearer_auth(&self.root)).await
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        (tenant, token): (&str, &str),
    ) -> RequestBuilder {
        let request = self.server.request(method, path);
        request.header("Quipu-Tenant", tenant).bearer_auth(token)
    }

    pub async fn get(&self, path: &str, who: (&str, &str)) -> Answered {
        send(self.request("GET", path, who)).await
    }

    pub fn append(&self, stream: &str, who: (&str, &str)) -> RequestBuilder {
        let request = self.request("POST", &format!("/v1/streams/{stream}/events"), who);
        request
            .header("Content-Type", "application/json")
            .body(EVENT)
    }

    /// How many events a tenant has.
    pub async fn events(&self, who: (&str, &str)) -> usize {
        let read = self.get("/v1/events", who).await.ok();
        read["events"].as_array().unwrap().len()
    }

    /// The tenants that are listed, by name: whether they are open.
    pub async fn listed(&self) -> Vec<(String, bool)> {
        let listed = self.manage("GET", "").await.ok();
        let tenants = listed["tenants"].as_array().unwrap().clone();
        let of = |it: &Value| {
            let name = it["name"].as_str().unwrap().to_owned();
            (name, it["is_open"].as_bool().unwrap())
        };
        tenants.iter().map(of).collect()
    }
}
