//! Walking keys page by page.

use std::cell::RefCell;
use std::rc::Rc;

use trilith::db::BatchesOnly;
use trilith::{Error, ErrorKind, Result, Scan};
use wasm_bindgen::prelude::*;

use super::answer::{Answer, answer, bytes};
use super::encoding::put_pair;
use crate::{WebRuntime, WebStorage};

type WebScan = Scan<WebStorage, WebRuntime, BatchesOnly>;

/// Which of key and value are wanted: bits.
const KEYS: u8 = 1;
const VALUES: u8 = 2;

/// A walk over keys as they were when it began. Holds that state until it is freed.
#[wasm_bindgen]
pub struct Cursor {
    /// Away while a page is being made: nothing is borrowed across a wait.
    scan: Rc<RefCell<Place>>,
    fields: u8,
}

enum Place {
    Idle(Box<WebScan>),
    /// A page is being made.
    Busy,
    /// It has come to its end, was closed, or has failed.
    Done,
}

impl Cursor {
    pub(super) fn new(scan: WebScan, fields: u8) -> Self {
        Self {
            scan: Rc::new(RefCell::new(Place::Idle(Box::new(scan)))),
            fields,
        }
    }
}

#[wasm_bindgen]
impl Cursor {
    /// The next page: at most `limit` pairs, and no more of them once they have `maxBytes`. Empty at the end, and from
    /// then on. One page at a time: asking while another is awaited is an error.
    #[wasm_bindgen(unchecked_return_type = "Uint8Array | Promise<Uint8Array>")]
    pub fn next(&self, limit: u32, #[wasm_bindgen(js_name = maxBytes)] max_bytes: u32) -> Answer {
        let (place, fields) = (self.scan.clone(), self.fields);
        answer(async move {
            let before = std::mem::replace(&mut *place.borrow_mut(), Place::Busy);
            let mut scan = match before {
                Place::Idle(scan) => scan,
                Place::Busy => {
                    let detail = "its last page is still awaited";
                    return Err(Error::new(ErrorKind::Invalid, "walking keys", detail));
                }
                Place::Done => {
                    *place.borrow_mut() = Place::Done;
                    return Ok(bytes(&[]));
                }
            };
            let page = page(&mut scan, limit, max_bytes as usize, fields).await;
            let is_over = page.as_ref().map_or(true, |(_, is_over)| *is_over);
            let mut place = place.borrow_mut();
            // It may have been closed meanwhile.
            if matches!(*place, Place::Busy) {
                *place = if is_over {
                    Place::Done
                } else {
                    Place::Idle(scan)
                };
            }
            page.map(|(page, _)| bytes(&page))
        })
    }

    /// Lets go of what it holds; pages are empty from now on.
    pub fn close(&self) {
        *self.scan.borrow_mut() = Place::Done;
    }
}

/// A page, and whether there is nothing behind it.
async fn page(
    scan: &mut WebScan,
    limit: u32,
    max_bytes: usize,
    fields: u8,
) -> Result<(Vec<u8>, bool)> {
    let mut page = Vec::new();
    for _ in 0..limit {
        let Some((key, value)) = scan.next().await? else {
            return Ok((page, true));
        };
        let key = if fields & KEYS == 0 { &[] } else { key };
        let value = if fields & VALUES == 0 { &[] } else { value };
        put_pair(&mut page, key, value);
        if page.len() >= max_bytes {
            break;
        }
    }
    Ok((page, false))
}
