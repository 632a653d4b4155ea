//! The socket and the HTTP around questions and answers.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::http::{self, Bounds};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::UnixListener;

use super::answer::{Question, Refusal};
use super::student_cache::StudentCache;

/// Longest body of a request.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What programs may take of it.
const BOUNDS: Bounds = Bounds {
    connections_max: 32,
    request_wait: Duration::from_secs(30),
    answer_wait: Duration::from_secs(30),
};
/// More values than this are worked on away from the agent's own thread.
const VALUES_AT_ONCE: usize = 16 * 1024;
/// What fits into a Unix socket's address, with its terminating zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path does not fit into a socket's address.
    #[error("the socket path {} is too long, at most 107 bytes fit; set predictions.socket to a shorter one", .0.display())]
    TooLong(PathBuf),
    /// Someone answers there.
    #[error("a program answers at {} already; stop it, or set predictions.socket to another path", .0.display())]
    InUse(PathBuf),
    /// The disk or its permissions.
    #[error("cannot make the socket {}: {source}; check that its directory exists and may be written", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A socket that answers questions. Its file goes with it.
#[derive(Debug)]
pub struct PredictionServer {
    listener: UnixListener,
    path: PathBuf,
    student_cache: Arc<StudentCache>,
    pub(super) bounds: Bounds,
}

impl PredictionServer {
    /// Takes the path, with mode 0660. A file that a killed agent left there
    /// is replaced; one that answers is not. Must be called inside a Tokio
    /// runtime.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path, student_cache: StudentCache) -> Result<Self, SocketError> {
        let path = path.to_owned();
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(SocketError::TooLong(path));
        }
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(SocketError::InUse(path));
        }
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let bound = removed.and_then(|()| {
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o660))?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => Ok(Self {
                listener,
                path,
                student_cache: Arc::new(student_cache),
                bounds: BOUNDS,
            }),
            Err(source) => Err(SocketError::Io { path, source }),
        }
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let student_cache = self.student_cache.clone();
        let service = service_fn(move |request| {
            let student_cache = student_cache.clone();
            async move { respond(&student_cache, request).await }
        });
        http::serve("predictions", &self.listener, self.bounds, service).await;
    }
}

impl Drop for PredictionServer {
    fn drop(&mut self) {
        // Gone already if the directory is.
        let _ = fs::remove_file(&self.path);
    }
}

type Reply = Response<Full<Bytes>>;

async fn respond(
    student_cache: &Arc<StudentCache>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let path = request.uri().path();
    Ok(match (path, request.method()) {
        ("/v1/predict", &Method::POST) => predict(student_cache, request).await,
        ("/v1/students", &Method::GET) => students(student_cache),
        ("/v1/predict", _) => refuse(StatusCode::METHOD_NOT_ALLOWED, "use POST with a JSON body"),
        ("/v1/students", _) => refuse(StatusCode::METHOD_NOT_ALLOWED, "use GET"),
        _ => refuse(
            StatusCode::NOT_FOUND,
            "there are POST /v1/predict and GET /v1/students",
        ),
    })
}

async fn predict(student_cache: &Arc<StudentCache>, request: Request<Incoming>) -> Reply {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BOUNDS.request_wait, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let text = format!("the body is longer than {BODY_BYTES_MAX} bytes; send fewer rows");
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &text);
        }
        Ok(Err(error)) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let answered = Question::parse(&body).and_then(|question| {
        let student = student_cache.student(question.task.as_deref())?;
        Ok((question, student))
    });
    let answered = match answered {
        Ok((question, student))
            if question.values() > VALUES_AT_ONCE
                || student.task().definition().backbone.is_some() =>
        {
            let students = student_cache.clone();
            let work = tokio::task::spawn_blocking(move || {
                question.answer(&student, Some(students.models()))
            });
            work.await
                .unwrap_or_else(|error| Err(Refusal::Student(error.to_string())))
        }
        Ok((question, student)) => question.answer(&student, None),
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(answered) => match serde_json::to_vec(&answered) {
            Ok(json) => reply(StatusCode::OK, json),
            Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Err(refusal) => refuse(status_of(&refusal), &refusal.to_string()),
    }
}

fn students(student_cache: &Arc<StudentCache>) -> Reply {
    let students = student_cache.students();
    let all: Vec<_> = students
        .values()
        .map(|release| {
            let definition = release.task().definition();
            json!({
                "task": release.task().hash(),
                "name": definition.name,
                "version": release.version().to_string(),
                "input_shape": release.task().input_shape().sides(),
                "classes": definition.classes,
                "numbers": release.task().target().numbers(),
            })
        })
        .collect();
    reply(StatusCode::OK, json!({ "students": all }).to_string())
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoStudent(_) => StatusCode::NOT_FOUND,
        Refusal::Student(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn refuse(status: StatusCode, error: &str) -> Reply {
    reply(status, json!({ "error": error }).to_string())
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
