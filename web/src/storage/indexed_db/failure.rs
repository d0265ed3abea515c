//! From the browser's errors to the engine's, each with what can be done about it.

use trilith::{Error, ErrorKind};
use wasm_bindgen::prelude::*;
use web_sys::DomException;

/// What errors say was being done when the reason has a name of its own: see [`reason_of`](crate::store).
pub(crate) mod doing {
    /// Another tab keeps the database from being opened.
    pub(crate) const BLOCKED: &str = "waiting for another tab to let go of the database";
    /// The browser does not let it be opened.
    pub(crate) const REFUSED: &str = "opening the database";
    /// It has been deleted while it was open.
    pub(crate) const DELETED: &str = "finding the database again";
    /// Another tab wants to delete it or to change its version.
    pub(crate) const VERSION_CHANGE: &str = "keeping the database open";
    /// There is no room.
    pub(crate) const QUOTA: &str = "finding room for a transaction";
}

/// Why a transaction or a request did not come about.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// No room is left.
    Quota,
    /// The connection is gone, or may be: worth another attempt with a new one.
    Broken(String),
    /// The connection has been given up for good.
    Gone(Error),
}

impl Failure {
    pub(super) fn of(error: &JsValue) -> Self {
        let Some(exception) = error.dyn_ref::<DomException>() else {
            return Self::Broken(format!("{error:?}"));
        };
        match exception.name().as_str() {
            "QuotaExceededError" => Self::Quota,
            name => Self::Broken(format!("{name}: {}", exception.message())),
        }
    }

    pub(super) fn into_error(self, doing: &'static str) -> Error {
        match self {
            Self::Quota => Error::new(
                ErrorKind::Full,
                self::doing::QUOTA,
                "the browser gives this site no more room: delete something, or ask for more with persist()",
            ),
            Self::Broken(detail) => Error::new(
                ErrorKind::Failed,
                doing,
                format!("{detail}; open the store again"),
            ),
            Self::Gone(error) => error,
        }
    }
}
