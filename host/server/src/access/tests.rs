use axum::Router;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::tenants::call;
use crate::{Options, router};

async fn ask(router: &Router, method: &str, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path);
    call(router, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn what_declares_no_access_is_refused() {
    let host = Host::builder().build().await.unwrap();
    let app = router::app(host, Options::default(), CancellationToken::new());
    let (paths, _) = router::paths().split_for_parts();
    let paths = paths
        .route("/v1/plain", get(async || "plain"))
        .route("/v1/events", post(async || "plain"))
        .route("/openapi.json", get(async || "open"));
    let router = router::guarded(paths, app);

    for method in ["GET", "HEAD"] {
        let refused = ask(&router, method, "/v1/plain").await;
        assert_eq!(refused.status(), 403, "{method}");
    }
    // A method without a description is one that the path does not have.
    let refused = ask(&router, "POST", "/v1/events").await;
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.headers()[header::ALLOW], "GET,HEAD");
    for path in ["/v1/events", "/healthz", "/openapi.json"] {
        assert_eq!(ask(&router, "GET", path).await.status(), 200, "{path}");
    }
    assert_eq!(ask(&router, "GET", "/v1/nowhere").await.status(), 404);
}
