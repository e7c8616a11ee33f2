use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quipu_api::Code;
use quipu_tests::golden;
use serde_json::{Value, json};

use crate::server::{Server, send};

#[test]
fn the_openapi_description_equals_the_published_file() {
    golden::check("openapi.json", &(quipu_server::openapi() + "\n"));
}

#[test]
fn operation_ids_are_unique() {
    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    let mut ids: Vec<&str> = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "{ids:?}");
}

/// Every operation: method, path and id.
fn operations() -> Vec<(String, String, String)> {
    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            all.push((method.to_uppercase(), path.clone(), id.to_owned()));
        }
    }
    all.sort();
    all
}

/// Generated clients call operations by these names.
#[test]
fn operation_ids_equal_the_published_list() {
    let lines = operations().into_iter();
    let lines = lines.map(|(method, path, id)| format!("{id} {method} {path}\n"));
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    golden::check("operations.txt", &lines.concat());
}

#[test]
fn head_is_described_wherever_get_is() {
    let of = |wanted: &str| -> Vec<String> {
        let all = operations().into_iter();
        let of = all.filter(|(method, _, _)| method == wanted);
        of.map(|(_, path, _)| path).collect()
    };
    assert!(of("GET").len() >= 20);
    assert_eq!(of("GET"), of("HEAD"));
}

#[test]
fn every_error_code_is_listed() {
    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    let schemas = &description["components"]["schemas"];
    let listed = schemas["ProblemCode"]["enum"].as_array().unwrap();
    let all = Code::ALL.iter().map(|code| code.as_str());
    assert!(listed.iter().filter_map(Value::as_str).eq(all));
    let code = &schemas["Problem"]["properties"]["code"];
    assert!(code.to_string().contains("ProblemCode"), "{code}");
}

#[test]
fn every_reference_in_the_description_resolves_to_a_schema() {
    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    let mut references = 0;
    walk("", &description, &mut |place, value| {
        let Some(reference) = value["$ref"].as_str() else {
            return;
        };
        references += 1;
        let pointer = reference.strip_prefix('#').unwrap();
        let schema = description.pointer(pointer);
        assert!(schema.is_some(), "{place}: {reference}");
    });
    assert!(references > 100);
}

/// For an object without declared members, generators make a type that has none.
#[test]
fn every_object_in_the_description_declares_its_members() {
    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    walk("", &description, &mut |place, value| {
        let says = ["properties", "additionalProperties", "allOf", "oneOf"];
        let is_said = says.iter().any(|name| value.get(name).is_some());
        let is_object = value["type"].to_string().contains("\"object\"");
        assert!(!is_object || is_said, "{place}: {value}");
    });
}

/// Visits each object within a value, with its path.
fn walk(place: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    if let Some(object) = value.as_object() {
        visit(place, value);
        for (name, value) in object {
            walk(&format!("{place}/{name}"), value, visit);
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        walk(&format!("{place}/{index}"), value, visit);
    }
}

/// Generators drop an operation whose body has only types that they do not know.
#[test]
fn every_body_has_a_type_that_generators_know() {
    let description: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(body) = operation.get("requestBody") else {
                continue;
            };
            let types = body["content"].as_object().unwrap();
            let is_known = |name: &String| {
                ["application/json", "application/octet-stream"].contains(&name.as_str())
            };
            assert!(types.keys().any(is_known), "{method} {path}: {types:?}");
            if let Some(bytes) = types.get("application/octet-stream") {
                let schema = bytes["schema"].to_string();
                assert!(!schema.contains("array"), "{path}: {schema}");
            }
        }
    }
}

#[tokio::test]
async fn every_described_path_and_method_is_served() {
    let server = Server::empty().await;
    let description = server.get("/openapi.json").await.ok();
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() >= 12);
    for (path, methods) in paths {
        let path = filled(path);
        for method in methods.as_object().unwrap().keys() {
            // A subscription does not end, so checking that it begins is enough.
            if path.ends_with("/subscribe") {
                let begun = server.request(&method.to_uppercase(), &path).send();
                assert_eq!(begun.await.unwrap().status(), 200, "{path}");
                continue;
            }
            let answer = send(server.request(&method.to_uppercase(), &path)).await;
            // A HEAD response has no body with further information.
            if method == "head" {
                let got = server.get(&path).await;
                assert_eq!(
                    (answer.status, answer.text.as_str()),
                    (got.status, ""),
                    "{path}"
                );
                continue;
            }
            let is_problem = answer.header("content-type").contains("problem");
            let code = match is_problem {
                true => answer.json()["code"].clone(),
                false => Value::Null,
            };
            assert!(
                code != "not-found" && code != "method-not-allowed",
                "{method} {path}"
            );
        }
    }
}

/// A path of the description, with a value for each of its parameters.
fn filled(path: &str) -> String {
    let path = path.replace("{digest}", &"0".repeat(64));
    let path = path.replace("{order}", "pause");
    path.replace("{position}", "1").replace(['{', '}'], "")
}

/// The parameters of the query that an operation describes.
fn described(operation: &Value) -> BTreeSet<&str> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let of_query = parameters.filter(|parameter| parameter["in"] == "query");
    of_query
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn an_operation_knows_exactly_the_parameters_that_it_describes() {
    let server = Server::empty().await;
    let description = server.get("/openapi.json").await.ok();
    let paths = description["paths"].as_object().unwrap();
    let operations = || {
        paths
            .values()
            .flat_map(|it| it.as_object().unwrap().values())
    };
    let names: BTreeSet<&str> = operations().flat_map(described).collect();
    assert!(names.len() >= 25, "{names:?}");
    for (path, methods) in paths {
        // Both ignore unknown parameters, as probes expect.
        if path == "/healthz" || path == "/readyz" {
            continue;
        }
        for (method, operation) in methods.as_object().unwrap() {
            if method == "head" {
                continue;
            }
            let known = described(operation);
            for name in &names {
                // No parameter has this value, so nothing is done when the parameter is known.
                let path = format!("{}?{name}=%00&{name}=%00", filled(path));
                let is_known = known.contains(name);
                let answer = send(server.request(&method.to_uppercase(), &path)).await;
                let is_unknown = answer.text.contains("there is no parameter");
                assert_eq!(is_known, !is_unknown, "{method} {path}: {}", answer.text);
            }
        }
    }
}

/// The longest page is the one that the description promises.
#[tokio::test]
async fn the_described_limit_of_a_page_is_the_largest_one() {
    let server = Server::empty().await;
    let description = server.get("/openapi.json").await.ok();
    let mut pages = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array();
        let limit = parameters
            .into_iter()
            .flatten()
            .find(|it| it["name"] == "limit");
        let Some(limit) = limit else { continue };
        let said = limit["description"].as_str().unwrap();
        let max = said
            .split_once(": 1 to ")
            .unwrap()
            .1
            .split_once(',')
            .unwrap()
            .0;
        let max: u64 = max.parse().unwrap();
        let refused = format!("limit {} is not between 1 and {max}", max + 1);
        let page = async |limit: u64| {
            let path = format!("{}?token=1&limit={limit}", filled(path));
            let path = match path.contains("/subscriptions/") {
                true => path,
                false => path.replace("token=1&", ""),
            };
            server.get(&path).await.text
        };
        assert!(!page(max).await.contains("limit"), "{path}");
        let text = page(max + 1).await;
        assert!(text.contains(&refused), "{path}: {text}");
        pages += 1;
    }
    assert!(pages >= 10, "{pages}");
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_problem() {
    let server = Server::empty().await;
    for path in ["/v1", "/v2", "/v1/events/1/2", "/healthz/"] {
        server.get(path).await.problem(404, "not-found");
    }
    let wrong = send(server.request("DELETE", "/v1/events")).await;
    wrong.problem(405, "method-not-allowed");
    assert!(wrong.header("allow").contains("GET"));
}

#[tokio::test]
async fn a_host_reports_that_it_is_live_and_ready() {
    let server = Server::empty().await;
    assert_eq!(server.get("/healthz").await.ok(), json!({"status": "ok"}));
    let ready = server.get("/readyz").await.ok();
    assert_eq!(ready["status"], "ready");
    let checks = ready["checks"].as_array().unwrap();
    for name in ["writer", "reader", "committer", "worker 0"] {
        let found = checks.iter().find(|check| check["name"] == name);
        assert_eq!(found.unwrap()["is_ready"], true, "{name}");
    }
}

/// The library has its codes as text, because it does not know the HTTP interface.
#[test]
fn the_codes_of_the_library_are_those_of_the_interface() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let parts = fs::read_dir(host.join("src")).unwrap();
    let errors = parts.map(|part| part.unwrap().path().join("error.rs"));
    let mut sources: Vec<_> = errors.filter(|path| path.exists()).collect();
    let others = ["app/deploy.rs", "app/proposals.rs", "propose.rs"];
    sources.extend(others.map(|path| host.join("src").join(path)));
    sources.push(host.join("store/src/error.rs"));
    let mut found = BTreeSet::new();
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        let bodies = text.split("fn code(&self) -> &'static str {").skip(1);
        for body in bodies.filter_map(|rest| rest.split("\n    }\n").next()) {
            found.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    assert!(
        found.contains("proposal-closed") && found.len() >= 40,
        "{found:?}"
    );
    for code in &found {
        assert_eq!(Code::named(code).as_str(), code);
    }
}

/// The error codes of the contract with their statuses.
#[test]
fn codes_keep_their_names_and_statuses() {
    let mut found: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("{} {}", code.as_str(), code.status()))
        .collect();
    found.sort();
    golden::check("codes.txt", &(found.join("\n") + "\n"));
}
