//! Passing over values of types that Trilith does not hold: by their structure, without keeping any of it.

use super::kind::Layout;
use super::scan::{Scan, Stop};
use super::window::Window;
use crate::record::VALUE_BYTES_MAX;
use crate::storage::Reader;
use crate::{ErrorKind, Result};

/// Bytes of an id in a stream, where it is not two numbers.
const RAW_ID_BYTES: u64 = 16;
/// Bytes of a time or of a floating-point number.
const WORD_BYTES: u64 = 8;

/// Passes over what follows a key.
pub(super) async fn value<R: Reader>(window: &mut Window<R>, layout: Layout) -> Result<()> {
    match layout {
        Layout::Packed => text(window).await,
        Layout::PackedWithDeadlines => {
            window.skip(WORD_BYTES).await?;
            text(window).await
        }
        Layout::Stream(version) => stream(window, version).await,
        Layout::Module => module(window).await,
        Layout::ModuleAux => {
            // When the module wants to have it: what kind of number, and the number.
            numbers(window, 2).await?;
            module(window).await
        }
        Layout::FieldsWithDeadlines {
            earliest_first: true,
        } => {
            window.skip(WORD_BYTES).await?;
            counted(window, layout).await
        }
        Layout::Strings(_)
        | Layout::ScoresAsText
        | Layout::Scores
        | Layout::Nodes
        | Layout::FieldsWithDeadlines { .. } => counted(window, layout).await,
    }
}

/// A count, and so many parts.
async fn counted<R: Reader>(window: &mut Window<R>, layout: Layout) -> Result<()> {
    for _ in 0..number(window).await? {
        match layout {
            Layout::Strings(count) => texts(window, count).await?,
            Layout::Scores => {
                text(window).await?;
                window.skip(WORD_BYTES).await?;
            }
            Layout::ScoresAsText => {
                text(window).await?;
                score_as_text(window).await?;
            }
            Layout::FieldsWithDeadlines { .. } => {
                numbers(window, 1).await?;
                texts(window, 2).await?;
            }
            // Nodes of a list.
            _ => {
                numbers(window, 1).await?;
                text(window).await?;
            }
        }
    }
    Ok(())
}

/// The length of the number as text; those from 253 on are not a number and the two infinities, without any.
async fn score_as_text<R: Reader>(window: &mut Window<R>) -> Result<()> {
    match taken(window, |scan| scan.byte()).await? {
        253..=255 => Ok(()),
        len => window.skip(len.into()).await,
    }
}

async fn stream<R: Reader>(window: &mut Window<R>, version: u8) -> Result<()> {
    // Entries: an id and a listpack each.
    for _ in 0..number(window).await? {
        texts(window, 2).await?;
    }
    // Length and last id; then the first id, the highest deleted one, and how many were ever added.
    numbers(window, if version >= 2 { 8 } else { 3 }).await?;
    for _ in 0..number(window).await? {
        group(window, version).await?;
    }
    Ok(())
}

/// A group of consumers.
async fn group<R: Reader>(window: &mut Window<R>, version: u8) -> Result<()> {
    text(window).await?;
    // The last id, and how many entries were read.
    numbers(window, if version >= 2 { 3 } else { 2 }).await?;
    // What was delivered and not yet acknowledged: an id, when, how often.
    for _ in 0..number(window).await? {
        window.skip(RAW_ID_BYTES + WORD_BYTES).await?;
        numbers(window, 1).await?;
    }
    for _ in 0..number(window).await? {
        text(window).await?;
        // When it was seen, and when it last did anything.
        let times = if version >= 3 { 2 } else { 1 };
        window.skip(times * WORD_BYTES).await?;
        for _ in 0..number(window).await? {
            window.skip(RAW_ID_BYTES).await?;
        }
    }
    Ok(())
}

/// Parts that say what they are.
async fn module<R: Reader>(window: &mut Window<R>) -> Result<()> {
    loop {
        match number(window).await? {
            0 => return Ok(()),
            1 | 2 => numbers(window, 1).await?,
            3 => window.skip(4).await?,
            4 => window.skip(WORD_BYTES).await?,
            5 => text(window).await?,
            _ => return Err(window.corrupt("no such part of a module's value")),
        }
    }
}

async fn texts<R: Reader>(window: &mut Window<R>, count: u64) -> Result<()> {
    for _ in 0..count {
        text(window).await?;
    }
    Ok(())
}

async fn text<R: Reader>(window: &mut Window<R>) -> Result<()> {
    let len = taken(window, |scan| scan.text_len()).await?;
    window.skip(len).await
}

async fn numbers<R: Reader>(window: &mut Window<R>, count: u64) -> Result<()> {
    for _ in 0..count {
        number(window).await?;
    }
    Ok(())
}

async fn number<R: Reader>(window: &mut Window<R>) -> Result<u64> {
    taken(window, |scan| scan.number()).await
}

/// Takes what `read` finds, once it is in memory.
async fn taken<R: Reader, T>(
    window: &mut Window<R>,
    read: fn(&mut Scan<'_>) -> Result<T, Stop>,
) -> Result<T> {
    loop {
        let mut scan = Scan::new(window.rest(), window.left());
        match read(&mut scan) {
            Ok(found) => {
                let bytes = scan.at();
                window.take(bytes);
                return Ok(found);
            }
            Err(stop) => resolve(window, stop).await?,
        }
    }
}

/// Reads on if that is all that is needed.
pub(super) async fn resolve<R: Reader>(window: &mut Window<R>, stop: Stop) -> Result<()> {
    match stop {
        Stop::Needs(bytes) => window.fill(bytes).await,
        Stop::Damage(detail) => Err(window.corrupt(detail)),
        Stop::TooLong(len) => {
            let detail = format!("a string of {len} bytes: at most {VALUE_BYTES_MAX} are taken");
            Err(window.error(ErrorKind::Invalid, detail))
        }
        Stop::Sealed => {
            let detail =
                "a value of a module from before Redis 4.0, which only that module can pass over";
            Err(window.error(ErrorKind::Invalid, detail))
        }
    }
}
