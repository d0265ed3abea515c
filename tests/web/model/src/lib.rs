//! The engine's model test and the contract of its storage, over the storages of a page and of Node.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod draw;
#[path = "../../../../engine/tests/support/model/mod.rs"]
mod model;

use std::cell::RefCell;
use std::time::Duration;

use js_sys::{Array, Function};
use model::World;
use trilith::{Runtime as _, Sync};
use trilith_web::{FileHost, HostFiles, IndexedDb, WebRuntime, WebStorage};
use wasm_bindgen::prelude::*;

/// Where stores of a name lie: databases, or what a function makes a host of files for.
#[derive(Clone)]
struct Homes {
    prefix: String,
    files: Option<Function>,
}

impl Homes {
    fn storage(&self, name: &str) -> WebStorage {
        let name = self.name(name);
        match &self.files {
            Some(make) => {
                let host = make.call1(&JsValue::UNDEFINED, &name.into()).unwrap();
                let host = host.unchecked_into::<FileHost>();
                WebStorage::Files(HostFiles::new(host, &Array::new()))
            }
            // A cache of two rows: most reads are of the database.
            None => WebStorage::IndexedDb(IndexedDb::new(
                name,
                64 << 10,
                Duration::from_secs(10),
                Array::new(),
            )),
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

struct Page {
    homes: Homes,
    /// What the process that runs now has open.
    open: RefCell<Option<WebStorage>>,
    copies: u32,
}

impl World for Page {
    type Storage = WebStorage;
    type Runtime = WebRuntime;

    fn storage(&self) -> WebStorage {
        let storage = self.homes.storage("store");
        *self.open.borrow_mut() = Some(storage.clone());
        storage
    }

    fn runtime(&self) -> WebRuntime {
        WebRuntime
    }

    fn next_process(&mut self) {
        if let Some(storage) = self.open.take() {
            storage.abandon();
        }
    }

    fn place(&mut self) -> (String, WebStorage) {
        self.copies += 1;
        let name = format!("copy {}", self.copies);
        (self.homes.name(&name), self.homes.storage(&name))
    }

    async fn pass(&self, time: Duration) {
        WebRuntime.sleep(time / 50).await;
    }
}

/// Takes a store and a map through the same steps, drawn from `seed`. Tells what was met on the way.
#[wasm_bindgen(js_name = runModel)]
pub async fn run_model(
    prefix: String,
    files: Option<Function>,
    seed: u32,
    steps: u32,
    always: bool,
) -> String {
    let world = Page {
        homes: Homes { prefix, files },
        open: RefCell::default(),
        copies: 0,
    };
    let sync = if always {
        Sync::Always
    } else {
        Sync::EverySecond
    };
    let met = model::run(world, sync, &draw::steps(seed, steps)).await;
    format!("{met:?}")
}

/// Holds a storage to what the engine is promised. Panics where it is not so.
#[wasm_bindgen(js_name = runContract)]
pub async fn run_contract(prefix: String, files: Option<Function>) {
    contract::run(&Homes { prefix, files }).await;
}

/// Ends the instance, as a bug would.
#[wasm_bindgen(js_name = panicNow)]
pub fn panic_now() {
    panic!("on purpose");
}
