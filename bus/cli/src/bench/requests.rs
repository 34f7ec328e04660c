//! Connections to the bus, the publishes that go over them, and their answers.

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::load::Plan;
use super::scenario::TypeSuffix;
use crate::Failure;

pub(super) async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let lost =
        |error: &dyn std::fmt::Display| Failure::new(format!("no connection to the bus: {error}"));
    let stream = TcpStream::connect(authority)
        .await
        .map_err(|error| lost(&error))?;
    stream.set_nodelay(true).map_err(|error| lost(&error))?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| lost(&error))?;
    tokio::spawn(async move {
        // An error shows at the sender's side as well.
        let _ = connection.await;
    });
    Ok(sender)
}

#[derive(serde::Deserialize)]
pub(super) struct One {
    pub(super) position: u64,
}

#[derive(serde::Deserialize)]
struct Many {
    results: Vec<One>,
}

pub(super) fn positions(batch: u64, body: &[u8]) -> Result<Vec<u64>, Failure> {
    let unreadable =
        |error: serde_json::Error| Failure::new(format!("an answer that can't be read: {error}"));
    if batch == 1 {
        return Ok(vec![
            serde_json::from_slice::<One>(body)
                .map_err(unreadable)?
                .position,
        ]);
    }
    let many: Many = serde_json::from_slice(body).map_err(unreadable)?;
    Ok(many.results.into_iter().map(|one| one.position).collect())
}

pub(super) fn request(
    authority: &str,
    number: u64,
    plan: &Plan,
) -> Result<Request<Full<Bytes>>, Failure> {
    let batch = plan.batch;
    let room = (plan.bytes + 1) * usize::try_from(batch).unwrap_or(1) + 2;
    let mut body = String::with_capacity(room);
    let content_type = if batch == 1 {
        event(&mut body, number, plan);
        "application/cloudevents+json"
    } else {
        for index in 0..batch {
            body.push(if index == 0 { '[' } else { ',' });
            event(&mut body, number + index, plan);
        }
        body.push(']');
        "application/cloudevents-batch+json"
    };
    Request::post(plan.stage.path())
        .header("host", authority)
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::new(error.to_string()))
}

/// Appends one event of the plan's size: an order with lines, filled up by a note.
fn event(out: &mut String, number: u64, plan: &Plan) {
    let start = out.len();
    // Writing to a String can't fail.
    let _ = write!(
        out,
        r#"{{"specversion":"1.0","id":"bench-{number}","source":"/bench","type":"{}{}","datacontenttype":"application/json","data":{{"kind":"order","number":{number},"customer":"c-{}","lines":[{{"sku":"A-{}","quantity":2,"cents":1999}},{{"sku":"B-{}","quantity":1,"cents":495}}],"note":""#,
        plan.stage.kind(),
        TypeSuffix::of(plan.kinds, number),
        number % 5_000,
        number % 977,
        number % 331
    );
    let fill = plan.bytes.saturating_sub(out.len() - start + 3);
    out.extend(std::iter::repeat_n('n', fill));
    out.push_str("\"}}");
}
