//! Counts what is in a store, and writes to it: `pairs [DIRECTORY [put KEY VALUE]]`.

use trilith::Range;

fn main() -> trilith::Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(directory) = args.next() else {
        println!("usage: pairs DIRECTORY [put KEY VALUE]");
        return Ok(());
    };
    let store = trilith_server::open(directory)?;
    let words: Vec<String> = args.collect();
    if let [verb, key, value] = &words[..]
        && verb == "put"
    {
        store.put(key.as_bytes(), value.as_bytes())?;
    }
    let mut pairs = store.scan(Range::all())?;
    let mut count = 0;
    while pairs.next_pair()?.is_some() {
        count += 1;
    }
    drop(pairs);
    println!("{count} pairs");
    store.close()
}
