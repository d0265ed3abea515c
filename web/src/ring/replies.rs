//! Replies in the shapes of JavaScript.

use js_sys::{Array, Object, Reflect, Uint8Array};
use trilith::command::Reply;
use trilith::sim::live::Answer;
use wasm_bindgen::JsValue;

/// The largest number that JavaScript's have exactly.
const EXACT_MOST: u64 = (1 << 53) - 1;

fn set(object: &Object, name: &str, value: &JsValue) {
    // A fresh object takes any property.
    let _ = Reflect::set(object, &name.into(), value);
}

/// An answer to a request.
pub(super) fn answer(answer: &Answer) -> JsValue {
    let object = Object::new();
    set(&object, "id", &(answer.id as f64).into());
    set(&object, "node", &answer.node.into());
    set(&object, "askedMs", &(answer.asked_us as f64 / 1e3).into());
    let answered_ms = answer.answered_us as f64 / 1e3;
    set(&object, "answeredMs", &answered_ms.into());
    match &answer.reply {
        Reply::Error(text) => set(&object, "error", &text.as_ref().into()),
        reply => set(&object, "value", &value(reply)),
    }
    object.into()
}

/// A reply: what is too large for a number is a bigint.
fn value(reply: &Reply) -> JsValue {
    match reply {
        Reply::Simple(text) | Reply::Error(text) => text.as_ref().into(),
        Reply::Int(number) if number.unsigned_abs() <= EXACT_MOST => (*number as f64).into(),
        Reply::Int(number) => (*number).into(),
        Reply::Bulk(bytes) => Uint8Array::from(bytes.as_ref()).into(),
        Reply::Null | Reply::NullArray => JsValue::NULL,
        Reply::Array(replies) => replies.iter().map(value).collect::<Array>().into(),
        Reply::Map(pairs) => {
            let pair = |(key, of): &(Reply, Reply)| Array::of2(&value(key), &value(of));
            pairs.iter().map(pair).collect::<Array>().into()
        }
    }
}
