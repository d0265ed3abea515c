//! The port for machines that watch: /healthz, /readyz and /metrics.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::backend::Backend;
use super::cluster::{Cluster, Figures};
use super::info;
use super::shared::{Shared, stopped};

/// How many may watch at once.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until the server stops.
pub async fn serve<B: Backend>(listener: TcpListener, backend: B, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stopping = shared.stopping();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stopping) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Beyond the limit a connection is closed at once.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let (backend, shared) = (backend.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &backend, &shared));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
            drop(place);
        });
    }
}

async fn answer<B: Backend>(
    request: Request<Incoming>,
    backend: &B,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned())
    } else {
        match request.uri().path() {
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => ready(backend, shared).await,
            "/metrics" => {
                let figures = backend.cluster().map(Figures::of);
                let stats = backend.stats().await;
                let page = info::metrics(shared, &stats, figures.as_ref());
                (StatusCode::OK, page)
            }
            "/" => (StatusCode::OK, "/healthz\n/readyz\n/metrics\n".to_owned()),
            _ => (
                StatusCode::NOT_FOUND,
                "not found: try /healthz, /readyz or /metrics\n".to_owned(),
            ),
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let text = "text/plain; version=0.0.4; charset=utf-8";
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

/// Ready is who takes writes: a node that has not joined yet is not.
pub(super) async fn ready<B: Backend>(backend: &B, shared: &Shared) -> (StatusCode, String) {
    if shared.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let cluster = backend.cluster();
    if cluster.is_some_and(|cluster| cluster.view().map.is_none()) {
        return (StatusCode::SERVICE_UNAVAILABLE, "joining\n".to_owned());
    }
    match backend.stats().await.read_only {
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("read-only: {reason}\n"),
        ),
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}
