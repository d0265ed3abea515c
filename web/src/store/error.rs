//! Errors as JavaScript has them.

use js_sys::Reflect;
use trilith::{Error, ErrorKind};
use wasm_bindgen::prelude::*;

use crate::storage::doing;

/// The kind's name in the interface: one word.
fn code_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ReadOnly => "read-only",
        ErrorKind::Newer => "newer",
        ErrorKind::Unknown => "unknown",
        kind => kind.name(),
    }
}

/// What it was in particular, where there is a cure of its own.
fn reason_of(error: &Error) -> Option<&'static str> {
    Some(match error.doing() {
        doing::BLOCKED => "blocked",
        doing::REFUSED => "refused",
        doing::DELETED => "deleted",
        doing::VERSION_CHANGE => "versionchange",
        doing::QUOTA => "quota",
        _ => return None,
    })
}

/// An `Error` with `code`, and `reason`, `object` and `offset` where they are known.
pub(crate) fn to_js(error: &Error) -> JsValue {
    let thrown = js_sys::Error::new(&error.to_string());
    thrown.set_name("TrilithError");
    let set = |name: &str, value: JsValue| {
        let _ = Reflect::set(&thrown, &name.into(), &value);
    };
    set("code", code_of(error.kind()).into());
    if let Some(reason) = reason_of(error) {
        set("reason", reason.into());
    }
    if let Some(object) = error.object() {
        set("object", object.to_string().into());
    }
    if let Some(offset) = error.offset() {
        set("offset", (offset as f64).into());
    }
    thrown.into()
}

/// The error of every call on an instance that has panicked.
pub(crate) fn poisoned() -> JsValue {
    let message = crate::host::poisoned().unwrap_or_default();
    let thrown = js_sys::Error::new(&format!("the instance has panicked: {message}"));
    thrown.set_name("TrilithError");
    let _ = Reflect::set(&thrown, &"code".into(), &"poisoned".into());
    thrown.into()
}
