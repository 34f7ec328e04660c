//! Builds the description of one operation: parameters, body, answers and problems.
//!
//! Never here: which operations there are.

use std::collections::BTreeMap;

use edgebus_api as api;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::examples::Example;
use super::problems;
use super::schemas::Schemas;
use crate::problem::Cause;
use crate::query::Parameters;
use edgebus_model::Code;
use edgebus_model::error::Kind;

/// The media type of problem documents.
const PROBLEM: &str = "application/problem+json";
/// The media type of almost everything else.
pub(super) const JSON: &str = "application/json";

/// A description that is being collected.
pub(crate) struct Operation {
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: String,
    parameters: Vec<Value>,
    body: Option<(String, Map<String, Value>)>,
    answers: BTreeMap<u16, Value>,
    problems: Vec<(Cause, Code, String)>,
    schemas: Schemas,
}

impl Operation {
    /// An operation of the group `tag`; `id` is what generated clients call it.
    pub(super) fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            description: String::new(),
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            problems: Vec::new(),
            schemas: Schemas::default(),
        }
        .problem(
            Cause::HeadersTooLarge,
            "The request has too many header fields.",
        )
        .problem(
            Cause::HostRefused,
            "The request is for a name that is not the bus's.",
        )
        .problem(
            Cause::OriginRefused,
            "A web page from elsewhere sent the request.",
        )
        .problem(
            Cause::TransferCoding,
            "The body has a transfer coding other than `chunked`.",
        )
    }

    /// More words about it.
    pub(super) fn about(mut self, words: impl Into<String>) -> Self {
        self.description = words.into();
        self
    }

    fn parameter(
        mut self,
        place: &str,
        name: &str,
        shape: Value,
        words: &str,
        example: Value,
    ) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": words,
            "schema": shape,
            "example": example,
        }));
        self
    }

    /// A part of the path.
    pub(super) fn path<T: JsonSchema>(
        mut self,
        name: &str,
        words: &str,
        example: impl Into<Value>,
    ) -> Self {
        let shape = self.schemas.request::<T>();
        self.parameter("path", name, shape, words, example.into())
    }

    /// The parameters of the query.
    pub(super) fn query<T: Parameters>(self) -> Self {
        T::list().iter().fold(self, |operation, own| {
            let (shape, example) = (own.schema.clone(), own.example.clone());
            operation.parameter("query", &own.name, shape, &own.description, example)
        })
    }

    /// A header.
    pub(super) fn header(self, name: &str, shape: Value, words: &str, example: Value) -> Self {
        self.parameter("header", name, shape, words, example)
    }

    /// A body that is a struct of the API.
    pub(super) fn takes_json<T: JsonSchema + Example>(
        mut self,
        words: impl Into<String>,
        media_type: &str,
    ) -> Self {
        let shape = self.schemas.request::<T>();
        self.takes(words, media_type, shape, &[(T::NAME, T::example())])
    }

    /// A body of this media type, with one example for each name; called again for each further type.
    pub(super) fn takes(
        mut self,
        words: impl Into<String>,
        media_type: &str,
        shape: Value,
        examples: &[(&str, Value)],
    ) -> Self {
        let (description, content) = self.body.get_or_insert_with(Default::default);
        *description = words.into();
        content.insert(media_type.to_owned(), media(shape, examples));
        self
    }

    /// An answer without a body.
    pub(super) fn answers_empty(mut self, status: u16, words: &str) -> Self {
        self.answers.insert(status, json!({"description": words}));
        self
    }

    /// An answer that is a struct of the API, with its example.
    pub(super) fn answers_json<T: JsonSchema + Example>(
        mut self,
        status: u16,
        words: &str,
    ) -> Self {
        let shape = self.schemas.answer::<T>();
        self.answers(status, words, JSON, shape, &[(T::NAME, T::example())])
    }

    /// The schema of a struct of the API that is a part of an answer.
    pub(super) fn part<T: JsonSchema>(&mut self) -> Value {
        self.schemas.answer::<T>()
    }

    /// An answer.
    pub(super) fn answers(
        mut self,
        status: u16,
        words: &str,
        media_type: &str,
        shape: Value,
        examples: &[(&str, Value)],
    ) -> Self {
        let content = json!({media_type: media(shape, examples)});
        self.answers
            .insert(status, json!({"description": words, "content": content}));
        self
    }

    /// A header of the answer with this status, which was described before.
    pub(super) fn answers_header(
        mut self,
        status: u16,
        name: &str,
        shape: Value,
        words: &str,
    ) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer["headers"][name] = json!({"description": words, "schema": shape});
        }
        self
    }

    /// What the data of each server-sent event is, which OpenAPI 3.1 has no word for.
    pub(super) fn sends<T: JsonSchema>(mut self) -> Self {
        let shape = self.schemas.answer::<T>();
        if let Some(answer) = self.answers.get_mut(&200) {
            answer["content"]["text/event-stream"]["x-sse-data"] = shape;
        }
        self
    }

    /// A way in which it is refused, and when.
    pub(super) fn problem(self, cause: Cause, when: impl Into<String>) -> Self {
        self.coded_problem(cause, cause.code(), when)
    }

    /// A refusal with its own code.
    pub(super) fn coded_problem(
        mut self,
        cause: Cause,
        code: Code,
        when: impl Into<String>,
    ) -> Self {
        self.problems.push((cause, code, when.into()));
        self
    }

    /// What every route under `/v1` may answer besides.
    pub(super) fn everyday(self) -> Self {
        self.problem(
            Cause::Handle(Kind::Invalid),
            "A name, a number or a query parameter is wrong, unknown, or given twice.",
        )
        .problem(
            Cause::UnsupportedMedia,
            "The request has a Content-Encoding.",
        )
        .problem(
            Cause::Handle(Kind::Busy {
                retry_after_ms: 1_000,
            }),
            "The node is full: too many connections, or too many bytes in flight.",
        )
    }

    /// What every route that reads the store may answer besides.
    pub(super) fn reads(self) -> Self {
        self.everyday()
            .problem(
                Cause::Handle(Kind::Corrupt),
                "A stored record is corrupt and was not used.",
            )
            .problem(
                Cause::Handle(Kind::Unavailable),
                "The bus is stopping, or its store failed.",
            )
    }

    /// What every route that changes the store may answer besides.
    pub(super) fn writes(self) -> Self {
        self.everyday()
            .problem(
                Cause::Handle(Kind::Unknown),
                "The log failed while it was written: the change may or may not have taken place.",
            )
            .problem(
                Cause::Handle(Kind::Unavailable),
                "The bus is stopping; nothing was written.",
            )
    }

    /// What every route that reads a body may answer besides.
    pub(super) fn reads_body(self) -> Self {
        self.problem(
            Cause::Handle(Kind::TooLarge),
            "The body is larger than the limit.",
        )
        .problem(Cause::BodyTimeout, "The body arrived too slowly.")
        .problem(
            Cause::BodyBroken,
            "The connection broke before the body ended.",
        )
    }

    /// The operation as the document has it, and the structs that it names.
    pub(super) fn document(mut self) -> (Value, Map<String, Value>) {
        let problem = self.schemas.answer::<api::Problem>();
        let mut answers: Map<String, Value> = Map::new();
        for (status, answer) in self.answers {
            answers.insert(status.to_string(), answer);
        }
        for (status, answer) in problem_answers(&self.problems, &problem) {
            // A route that answers a status in its own way says so in its own words.
            answers.entry(status.to_string()).or_insert(answer);
        }
        let mut out = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "responses": answers,
        });
        if !self.description.is_empty() {
            out["description"] = self.description.into();
        }
        if !self.parameters.is_empty() {
            out["parameters"] = self.parameters.into();
        }
        if let Some((description, content)) = self.body {
            out["requestBody"] =
                json!({"description": description, "required": true, "content": content});
        }
        (out, self.schemas.components())
    }
}

fn media(shape: Value, examples: &[(&str, Value)]) -> Value {
    let examples: Map<String, Value> = examples
        .iter()
        .map(|(name, example)| ((*name).to_owned(), json!({"value": example})))
        .collect();
    json!({"schema": shape, "examples": examples})
}

/// The problems by status, each with its code, its word and when it comes.
fn problem_answers(problems: &[(Cause, Code, String)], schema: &Value) -> BTreeMap<u16, Value> {
    let mut lines: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let mut examples: BTreeMap<u16, Map<String, Value>> = BTreeMap::new();
    let mut waits: BTreeMap<u16, bool> = BTreeMap::new();
    for (cause, code, when) in problems {
        let status = cause.status();
        let line = format!("* `{}` ({code}): {when}", cause.slug());
        lines.entry(status).or_default().push(line);
        let reference = format!(
            "#/components/examples/{}",
            problems::example_name(*cause, *code)
        );
        examples
            .entry(status)
            .or_default()
            .insert(code.to_string(), json!({"$ref": reference}));
        *waits.entry(status).or_default() |= cause.retry_after_seconds().is_some();
    }
    let mut answers = BTreeMap::new();
    for (status, lines) in lines {
        let examples = examples.remove(&status).unwrap_or_default();
        let content = json!({PROBLEM: {"schema": schema, "examples": examples}});
        let mut answer = json!({"description": lines.join("\n"), "content": content});
        if waits.get(&status).is_some_and(|wait| *wait) {
            answer["headers"]["Retry-After"] = json!({
                "description": "When to come back, in seconds; jittered.",
                "schema": {"type": "integer", "minimum": 1},
            });
        }
        answers.insert(status, answer);
    }
    answers
}
