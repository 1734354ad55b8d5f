//! `GET /api/openapi.json` names the routes that exist, and no others.

use bulkhead_tests::Server;
use std::collections::BTreeSet;

/// Method and path template of every route of this step.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/version"),
    ("post", "/register"),
    ("get", "/users/me"),
    ("get", "/orgs/users"),
    ("get", "/orgs/apikeys"),
    ("post", "/orgs/apikeys"),
    ("delete", "/orgs/apikeys/{keyId}"),
    ("post", "/orgs/apikeys/{keyId}/activate"),
    ("patch", "/orgs/apikeys/{keyId}/touch"),
    ("get", "/admin/leaks"),
    ("get", "/sandboxes"),
    ("post", "/sandboxes"),
    ("get", "/sandboxes/{id}"),
    ("delete", "/sandboxes/{id}"),
    ("patch", "/sandboxes/{id}"),
    ("post", "/sandboxes/{id}/start"),
    ("post", "/sandboxes/{id}/sleep"),
    ("post", "/sandboxes/{id}/wake"),
    ("post", "/sandboxes/{id}/stop"),
    ("post", "/sandboxes/{id}/pause"),
    ("post", "/sandboxes/{id}/resume"),
    ("post", "/sandboxes/{id}/freeze"),
    ("post", "/sandboxes/{id}/thaw"),
    ("get", "/sandboxes/{id}/isolation"),
    ("get", "/sandboxes/{id}/stats"),
    ("get", "/events"),
    ("post", "/sandboxes/{id}/exec"),
    ("post", "/sandboxes/{id}/exec-stream"),
    ("post", "/sandboxes/{id}/session-exec"),
    ("post", "/sandboxes/{id}/session-exec-stream"),
    ("post", "/sandboxes/{id}/commands/run"),
    ("get", "/sandboxes/{id}/commands/list"),
    ("post", "/sandboxes/{id}/commands/kill"),
    ("post", "/sandboxes/{id}/commands/attach"),
    ("post", "/sandboxes/{id}/commands/wait"),
    ("post", "/sandboxes/{id}/commands/{pid}/stdin"),
    ("post", "/sandboxes/{id}/commands/{pid}/signal"),
    ("get", "/sandboxes/{id}/pty"),
    ("post", "/sandboxes/{id}/pty/sessions"),
    ("get", "/sandboxes/{id}/pty/sessions"),
    ("get", "/sandboxes/{id}/pty/sessions/{sid}"),
    ("delete", "/sandboxes/{id}/pty/sessions/{sid}"),
    ("post", "/sandboxes/{id}/pty/sessions/{sid}/execute"),
    ("get", "/sandboxes/{id}/pty/sessions/{sid}/buffer"),
    ("post", "/sandboxes/{id}/pty/sessions/{sid}/resize"),
    ("get", "/sandboxes/{id}/files"),
    ("delete", "/sandboxes/{id}/files"),
    ("get", "/sandboxes/{id}/files/download"),
    ("post", "/sandboxes/{id}/files/upload"),
    ("post", "/sandboxes/{id}/files/mkdir"),
    ("post", "/sandboxes/{id}/files/create"),
    ("post", "/sandboxes/{id}/files/copy"),
    ("post", "/sandboxes/{id}/files/move"),
    ("post", "/sandboxes/{id}/files/chmod"),
    ("get", "/sandboxes/{id}/files/stat"),
    ("get", "/sandboxes/{id}/files/du"),
    ("get", "/sandboxes/{id}/files/search"),
    ("get", "/sandboxes/{id}/files/head-tail"),
    ("post", "/sandboxes/{id}/files/compress"),
    ("post", "/sandboxes/{id}/files/extract"),
    ("post", "/sandboxes/{id}/files/watch"),
    ("get", "/sandboxes/{id}/files/watch/{sid}/stream"),
    ("get", "/images"),
    ("post", "/images"),
    ("get", "/images/{id}"),
    ("delete", "/images/{id}"),
    ("get", "/images/name/{name}"),
];

#[test]
fn the_description_names_every_route_and_no_other() {
    let server = Server::start();
    let document = server.client().get("/openapi.json").expect(200).json();
    assert!(document["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")), "{}", document["openapi"]);
    let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.strip_prefix("/api").unwrap_or(path);
        let operations = item.as_object().expect("a path item is an object").keys();
        described.extend(
            operations.filter(|m| methods.contains(&m.as_str())).map(|m| (m.clone(), path.to_owned())),
        );
    }
    let expected = ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, expected);
}

#[test]
fn every_reference_of_the_description_resolves() {
    let server = Server::start();
    let document = server.client().get("/openapi.json").expect(200).json();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}
