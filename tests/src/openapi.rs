//! The server's own description, held against every answer that the client gets: route, method and status are
//! declared, the body is of the declared type, and JSON has the declared shape and no field more.

use crate::client::Answer;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

/// The description of one server.
#[derive(Debug)]
pub struct Description {
    document: Value,
    /// Its components with every object closed: a field that is not declared is drift as well.
    components: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Where an answer and the description differ.
#[derive(Debug)]
pub struct Drift {
    route: String,
    status: u16,
    what: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}, which the OpenAPI does not allow: {}", self.route, self.status, self.what)
    }
}

impl Description {
    /// Of this document.
    #[must_use]
    pub fn new(document: Value) -> Self {
        let mut components = document["components"].clone();
        let parts = parts_of_others(&components);
        if let Some(schemas) = components["schemas"].as_object_mut() {
            schemas
                .iter_mut()
                .filter(|(name, _)| !parts.contains(*name))
                .for_each(|(_, schema)| close(schema));
        }
        Self { document, components, validators: Mutex::default() }
    }

    /// Holds one answer against the description. What is not below `/api` has none.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, method: &str, target: &str, answer: &Answer) -> Result<(), Drift> {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let ["api", rest @ ..] = segments.as_slice() else { return Ok(()) };
        if rest == ["openapi.json"] {
            return Ok(());
        }
        let (route, declared) = self.declared(method, rest);
        let drift = |what: String| Drift { route: format!("{method} {route}"), status: answer.status, what };
        match declared {
            Ok(responses) => {
                let status = answer.status.to_string();
                let response = responses.get(&status).ok_or_else(|| drift("undeclared status".to_owned()))?;
                self.check_body(&status, self.resolved(response), answer).map_err(drift)
            }
            Err(statuses) if !statuses.contains(&answer.status) => {
                Err(drift(format!("expected one of {statuses:?}")))
            }
            Err(_) if method == "HEAD" => Ok(()),
            Err(_) => {
                let schema = json!({"$ref": "#/components/schemas/Refusal"});
                self.check_json("refusal", &schema, answer).map_err(drift)
            }
        }
    }

    /// The template of a path, and its declared answers, or the statuses of what is not declared.
    fn declared(&self, method: &str, path: &[&str]) -> (String, Result<&Map<String, Value>, &'static [u16]>) {
        let items = self.document["paths"].as_object().expect("the document has paths");
        let Some((template, item)) = items.iter().filter(|(template, _)| matches(template, path)).min_by_key(
            // A literal segment is meant before one with any value.
            |(template, _)| template.matches('{').count(),
        ) else {
            return (format!("/{}", path.join("/")), Err(&[400, 404]));
        };
        let responses = item[method.to_ascii_lowercase()]["responses"].as_object();
        (template.clone(), responses.ok_or(&[400, 405]))
    }

    fn resolved<'a>(&'a self, response: &'a Value) -> &'a Value {
        let reference = response["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference
            .map_or(response, |pointer| self.document.pointer(pointer).expect("a reference leads somewhere"))
    }

    fn check_body(&self, status: &str, response: &Value, answer: &Answer) -> Result<(), String> {
        let Some(content) = response["content"].as_object() else { return Ok(()) };
        let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("none");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let declared =
            content.get(kind).ok_or_else(|| format!("the content type {kind:?} is not declared"))?;
        if kind == "application/json" {
            let schema = &declared["schema"];
            return self.check_json(&format!("{status} {schema}"), schema, answer);
        }
        Ok(())
    }

    fn check_json(&self, name: &str, schema: &Value, answer: &Answer) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&answer.body).map_err(|e| format!("no JSON ({e})"))?;
        let validator = self.validator(name, schema);
        validator.validate(&body).map_err(|e| format!("at {:?}: {e}", e.instance_path().to_string()))
    }

    fn validator(&self, name: &str, schema: &Value) -> Arc<Validator> {
        let mut all = self.validators.lock().expect("no test panics while it holds this");
        if let Some(validator) = all.get(name) {
            return Arc::clone(validator);
        }
        let mut schema = schema.clone();
        close(&mut schema);
        schema["components"] = self.components.clone();
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        let validator = options.build(&schema).unwrap_or_else(|e| panic!("the schema of {name}: {e}"));
        let validator = Arc::new(validator);
        all.insert(name.to_owned(), Arc::clone(&validator));
        validator
    }
}

fn matches(template: &str, path: &[&str]) -> bool {
    let parts: Vec<&str> = template.split('/').filter(|part| !part.is_empty()).collect();
    parts.len() == path.len()
        && parts.iter().zip(path).all(|(part, given)| part.starts_with('{') || part == given)
}

/// Names of the schemas that are one part of an `allOf`: the other parts have more fields.
fn parts_of_others(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(object) => {
            let parts = object.get("allOf").and_then(Value::as_array).into_iter().flatten();
            let named = parts.filter_map(|part| part["$ref"].as_str()?.rsplit('/').next().map(str::to_owned));
            named.chain(object.values().flat_map(parts_of_others)).collect()
        }
        Value::Array(items) => items.iter().flat_map(parts_of_others).collect(),
        _ => BTreeSet::new(),
    }
}

/// Allows no field but those declared.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.contains_key("allOf") {
        object.insert("unevaluatedProperties".to_owned(), json!(false));
        return;
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        object.entry("additionalProperties").or_insert(json!(false));
    }
    for inner in ["items", "additionalProperties"] {
        object.get_mut(inner).into_iter().for_each(close);
    }
    for many in ["oneOf", "anyOf"] {
        object.get_mut(many).and_then(Value::as_array_mut).into_iter().flatten().for_each(close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::{HeaderMap, HeaderValue};

    fn answer(status: u16, kind: &'static str, body: &Value) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        Answer { status, headers, body: body.to_string().into_bytes() }
    }

    fn description() -> Description {
        let text = std::fs::read_to_string(crate::programs::repository().join("gateway/openapi.json"));
        Description::new(serde_json::from_str(&text.expect("the golden copy")).expect("JSON"))
    }

    #[test]
    fn each_kind_of_drift_is_seen() {
        let description = description();
        let version = json!({
            "version": "1", "commit": "a", "buildTime": "b",
            "protocols": {"agent": 2, "oldestAgent": 1, "runtime": 4},
        });
        let (refusal, json) = (json!({"error": "x"}), "application/json");
        let check = |target: &str, answer: &Answer| {
            description.check("GET", target, answer).map_err(|drift| drift.to_string())
        };
        assert_eq!(check("/api/version", &answer(200, json, &version)), Ok(()));
        assert_eq!(
            check("/api//version?x=1", &answer(200, "application/json; charset=utf-8", &version)),
            Ok(())
        );
        assert_eq!(check("/api/sandboxes/x", &answer(404, json, &refusal)), Ok(()));
        assert_eq!(check("/api/nothing", &answer(404, json, &refusal)), Ok(()));
        let mut more = version.clone();
        more["more"] = json!(1);
        let mut number = version.clone();
        number["version"] = json!(1);
        for (target, bad, word) in [
            ("/api/version", answer(200, json, &more), "more"),
            ("/api/version", answer(200, json, &number), "/version"),
            ("/api/version", answer(200, json, &json!({"version": "1"})), "required"),
            ("/api/version", answer(200, "text/plain", &version), "content type"),
            ("/api/version", answer(418, json, &refusal), "undeclared status"),
            ("/api/sandboxes/x/exec", answer(404, json, &refusal), "expected one of"),
            ("/api/nothing", answer(500, json, &refusal), "expected one of"),
            ("/api/nothing", answer(404, json, &json!({})), "error"),
        ] {
            let drift = check(target, &bad).expect_err(word);
            assert!(drift.contains(word), "{word}: {drift}");
        }
    }
}
