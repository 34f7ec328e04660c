//! What is published beside the load while it is measured: one event at fixed times, over a connection of its
//! own.
//!
//! Never here: measurements of it; the load's are what a scenario is about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};
use tokio::task::JoinHandle;

use super::requests::connect;
use super::scenario::OTHER;
use crate::Failure;

/// Events that are published until it is dropped.
pub(super) struct Beside {
    task: JoinHandle<Result<(), Failure>>,
    accepted: Arc<AtomicU64>,
}

impl Beside {
    /// Publishes an event of the type `com.example.other` every so often from now on.
    ///
    /// # Errors
    /// The bus gives no connection.
    pub(super) async fn start(authority: &str, every: Duration) -> Result<Self, Failure> {
        let connection = connect(authority).await?;
        let accepted = Arc::new(AtomicU64::new(0));
        let publishing = publish(connection, authority.to_owned(), every, accepted.clone());
        Ok(Self {
            task: tokio::spawn(publishing),
            accepted,
        })
    }

    /// How many were accepted until now.
    ///
    /// # Errors
    /// What ended it early.
    pub(super) async fn end(mut self) -> Result<u64, Failure> {
        if self.task.is_finished() {
            let ended = &mut self.task;
            ended
                .await
                .map_err(|error| Failure::new(error.to_string()))??;
        }
        Ok(self.accepted.load(Ordering::Relaxed))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn publish(
    mut connection: SendRequest<Full<Bytes>>,
    authority: String,
    every: Duration,
    accepted: Arc<AtomicU64>,
) -> Result<(), Failure> {
    let run = rand::random::<u64>();
    let mut tick = tokio::time::interval(every);
    for number in 0_u64.. {
        tick.tick().await;
        let body = format!(
            r#"{{"specversion":"1.0","id":"{OTHER}-{run}-{number}","source":"/bench","type":"com.example.{OTHER}","datacontenttype":"application/json","data":{{"kind":"order","number":{number},"customer":"c-1","lines":[],"note":""}}}}"#
        );
        let request = Request::post("/v1/events")
            .header("host", &authority)
            .header("content-type", "application/cloudevents+json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::new(error.to_string()))?;
        let lost = |error: hyper::Error| Failure::new(format!("the bus broke off: {error}"));
        connection.ready().await.map_err(lost)?;
        let answer = connection.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        answer.into_body().collect().await.map_err(lost)?;
        if status == StatusCode::ACCEPTED {
            accepted.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
