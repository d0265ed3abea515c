//! Makes of the compiled crate `trilith-web` what a page loads.
//!
//! ```text
//! trilith-web-build OUT [--name NAME] [--features FEATURE,..] [--package PACKAGE] [--no-opt]
//! ```
//!
//! Compiles the crate, or another that is made like it, for wasm32 in the profile `web`, has wasm-bindgen write the glue and the types, has npm's
//! `binaryen` make the module smaller, and tells what it all weighs. That wasm-opt ran, and that it made the module
//! smaller, is checked: it is easily passed over.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasm_bindgen_cli_support::Bindgen;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What wasm-opt is told. The features are those that rustc's wasm32 has by default, and every browser of ours.
const WASM_OPT: [&str; 9] = [
    "-Oz",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-multivalue",
    "--enable-reference-types",
    "--strip-producers",
];

struct Args {
    out: PathBuf,
    name: String,
    features: Option<String>,
    package: String,
    optimise: bool,
}

fn main() -> Result<()> {
    let args = args()?;
    let web = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("the build program lies in no folder")?;
    let compiled = compile(&args, web)?;
    fs::create_dir_all(&args.out)?;
    Bindgen::new()
        .input_path(&compiled)
        .out_name(&args.name)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .generate(&args.out)?;
    let module = args.out.join(format!("{}_bg.wasm", args.name));
    if args.optimise {
        optimise(&module, web)?;
    }
    report(&args, &module)
}

fn args() -> Result<Args> {
    let mut args = std::env::args().skip(1);
    let mut found = Args {
        out: args
            .next()
            .ok_or("usage: trilith-web-build OUT [--name NAME] [--features F] [--package P] [--no-opt]")?
            .into(),
        name: "trilith".into(),
        features: None,
        package: "trilith-web".into(),
        optimise: true,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--name" => found.name = value()?,
            "--features" => found.features = Some(value()?),
            "--package" => found.package = value()?,
            "--no-opt" => found.optimise = false,
            other => return Err(format!("{other} is not known").into()),
        }
    }
    Ok(found)
}

/// Compiles the crate and tells where the module is.
fn compile(args: &Args, web: &Path) -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(web).args([
        "build",
        "--package",
        &args.package,
        "--lib",
        "--profile=web",
        "--target=wasm32-unknown-unknown",
        "--message-format=json-render-diagnostics",
    ]);
    if let Some(features) = &args.features {
        command.arg(format!("--features={features}"));
    }
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the crate does not compile".into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let module = format!("{}.wasm", args.package.replace('-', "_"));
    let mut names = messages.split('"').filter(|part| part.ends_with(&module));
    let last = names.next_back().ok_or("cargo did not name the module")?;
    Ok(PathBuf::from(last))
}

fn optimise(module: &Path, web: &Path) -> Result<()> {
    let before = fs::metadata(module)?.len();
    let tool = web.join("node_modules/.bin/wasm-opt");
    let smaller = module.with_extension("opt");
    let status = Command::new(&tool)
        .args(WASM_OPT)
        .arg(module)
        .arg("-o")
        .arg(&smaller)
        .status()
        .map_err(|error| format!("{}: {error}; run npm ci in web first", tool.display()))?;
    if !status.success() {
        return Err("wasm-opt failed".into());
    }
    let after = fs::metadata(&smaller)?.len();
    if after >= before {
        return Err(format!("wasm-opt made {after} bytes of {before}").into());
    }
    fs::rename(smaller, module)?;
    println!("wasm-opt: {before} -> {after} bytes");
    Ok(())
}

/// Sizes as they are transferred. By gzip, which every machine that builds this has.
fn report(args: &Args, module: &Path) -> Result<()> {
    let glue = args.out.join(format!("{}.js", args.name));
    let mut total = 0;
    for file in [module, &glue] {
        let output = Command::new("gzip").arg("-9c").arg(file).output()?;
        if !output.status.success() {
            return Err("gzip failed".into());
        }
        let (bytes, gzip) = (fs::metadata(file)?.len(), output.stdout.len());
        total += gzip;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        println!("{name}: {bytes} bytes, {gzip} gzip");
    }
    println!("{}: {total} bytes gzip in all", args.name);
    Ok(())
}
