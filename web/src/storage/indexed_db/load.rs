//! What a database holds when it is loaded: its objects, where their rows begin, and what nobody owns any more.

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use trilith::{Contents, Object, Result};
use wasm_bindgen::prelude::*;

use super::super::table::Table;
use super::failure::Failure;
use super::queue::{META, Request};
use super::rows::File;
use super::transaction::{Mode, OBJECTS, ROWS, STORE, list_of, result_of, row_key};
use super::{IndexedDb, object_of};

const DOING: &str = "loading the store";

/// Everything but the rows' bytes, as one transaction saw it.
struct Found {
    meta: JsValue,
    names: Array,
    values: Array,
    /// Where the rows of each file begin.
    starts: Table<u64, Vec<u64>>,
}

impl IndexedDb {
    pub(super) async fn read_contents(&self) -> Result<Contents> {
        let found = self.find_all().await;
        let mut found = found.map_err(|failure| failure.into_error(DOING))?;
        let mut files = Vec::new();
        let mut last_file = found.starts.iter().last().map_or(0, |(file, _)| *file);
        for (name, value) in found.names.iter().zip(found.values.iter()) {
            let (Some(object), Some((file, len))) = (object_named(&name), pair(&value)) else {
                continue;
            };
            let starts = found.starts.remove(&file).unwrap_or_default();
            last_file = last_file.max(file);
            files.push(self.new_file(object, file, starts, len));
        }
        self.0.next_file.set(last_file + 1);
        self.measure(&files)
            .await
            .map_err(|failure| failure.into_error(DOING))?;
        self.remove_orphans(found.starts.iter().map(|(file, _)| *file).collect());
        let mut objects = self.0.objects.borrow_mut();
        for file in files {
            let object = file.object.borrow().clone();
            objects.insert(object, file);
        }
        Ok(Contents {
            meta: found
                .meta
                .dyn_ref::<Uint8Array>()
                .map(|meta| Bytes::from(meta.to_vec())),
            objects: objects
                .iter()
                .map(|(object, file)| (object.clone(), file.len.get()))
                .collect(),
            // Pages are not told of the machine's boots.
            host_epoch: None,
        })
    }

    async fn find_all(&self) -> Result<Found, Failure> {
        let transaction = self.0.connection.begin(Mode::Read)?;
        let fail = |error: JsValue| Failure::of(&error);
        let objects = transaction.store(OBJECTS)?;
        let meta = transaction.store(STORE)?.get(&META.into()).map_err(fail)?;
        let names = objects.get_all_keys().map_err(fail)?;
        let values = objects.get_all().map_err(fail)?;
        let rows = transaction.store(ROWS)?.get_all_keys().map_err(fail)?;
        transaction.read(&rows).await?;
        let mut starts = Table::default();
        let mut of_file = (0, Vec::new());
        // In order of the file.
        for key in list_of(&rows)?.iter() {
            let Some((file, start)) = pair(&key) else {
                continue;
            };
            if file != of_file.0 {
                let (file, starts_of) = std::mem::replace(&mut of_file, (file, Vec::new()));
                starts.insert(file, starts_of);
            }
            of_file.1.push(start);
        }
        starts.insert(of_file.0, of_file.1);
        // No file has this number.
        starts.remove(&0);
        Ok(Found {
            meta: result_of(&meta)?,
            names: list_of(&names)?,
            values: list_of(&values)?,
            starts,
        })
    }

    /// Segments are as long as their rows; of everything else the length was written down with the rows.
    async fn measure(&self, files: &[std::rc::Rc<File>]) -> Result<(), Failure> {
        let transaction = self.0.connection.begin(Mode::Read)?;
        let rows = transaction.store(ROWS)?;
        let mut asked = Vec::new();
        for file in files {
            let is_segment = matches!(*file.object.borrow(), Object::Segment(_));
            let last = file.starts.borrow().last().copied();
            if let Some(last) = last.filter(|_| is_segment) {
                let request = rows.get(&row_key(file.id, last));
                asked.push((file, last, request.map_err(|error| Failure::of(&error))?));
            }
        }
        let Some((_, _, last)) = asked.last() else {
            return Ok(());
        };
        transaction.read(last).await?;
        for (file, last, request) in asked {
            let row = result_of(&request)?;
            let len = row.dyn_ref::<Uint8Array>().map_or(0, Uint8Array::length);
            file.len.set(last + u64::from(len));
        }
        Ok(())
    }

    fn remove_orphans(&self, files: Vec<u64>) {
        let requests: Vec<_> = files
            .into_iter()
            .map(|file| Request::DeleteRows { file, from: 0 })
            .collect();
        if !requests.is_empty() {
            // If it fails, they are found again.
            drop(self.change(requests, Mode::Relaxed));
        }
    }
}

fn object_named(name: &JsValue) -> Option<Object> {
    object_of(&name.as_string()?)
}

/// Two numbers.
fn pair(value: &JsValue) -> Option<(u64, u64)> {
    let array = value.dyn_ref::<Array>()?;
    let number = |at| array.get(at).as_f64().map(|number| number as u64);
    Some((number(0)?, number(1)?))
}
