use std::sync::Arc;

use quipu::runtime::{Export, FaultKind, Instance, Limits, Options, Refused, Runtime};
use quipu_tests::coin::coin;

use crate::guest::{component, component_of};
use crate::{check_obedient, decide, open, runtime, tight};

/// The reason why bytes are refused. Also checks that the runtime still works.
fn refused(bytes: &[u8], limits: Limits) -> Refused {
    let runtime = runtime(limits);
    let refused = runtime.load(bytes).unwrap_err();
    check_obedient(&runtime);
    refused
}

#[test]
fn a_module_has_the_data_of_its_manifest() {
    let bytes = component("skeleton");
    let module = runtime(tight()).load(&bytes).unwrap();
    assert_eq!(module.world(), "decider-guest");
    assert_eq!(module.exports(), [Export::Decider]);
    assert_eq!(module.size(), bytes.len());
    assert_eq!(module.category().unwrap().as_str(), "probe");
    let manifest = module.manifest();
    assert_eq!(
        (&*manifest.version, manifest.state_schema_version),
        ("1.0.0", 1)
    );
    assert_eq!(manifest.command("go").unwrap().schema_version, 1);
    assert!(manifest.event("gone").is_none());
    let imports: Vec<_> = module.imports().iter().map(String::as_str).collect();
    assert!(
        imports.contains(&"quipu:domain/diagnostics@0.1.0"),
        "{imports:?}"
    );
}

#[test]
fn a_component_of_the_sdk_has_json_schemas_and_the_codes_of_its_rejections() {
    let runtime = Runtime::new(Options::default()).unwrap();
    let module = runtime.load(&coin()).unwrap();
    let manifest = module.manifest();
    let rejections = ("rejections".to_owned(), "too-little".to_owned());
    assert_eq!(manifest.annotations, [rejections]);
    for known in manifest.commands.iter().chain(&manifest.events) {
        let schema: serde_json::Value = serde_json::from_str(&known.json_schema).unwrap();
        assert_eq!(schema["type"], "object", "{}", known.name);
        assert_eq!(schema["required"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_component_without_a_decider_loads_and_cannot_decide() {
    let module = runtime(tight())
        .load(&component_of("upcaster", "upcaster-guest"))
        .unwrap();
    assert_eq!(
        (module.world(), module.has_decider()),
        ("upcaster-guest", false)
    );
    let mut instance = Instance::new(&module).unwrap();
    assert!(instance.open("1", None).is_err());
}

/// Semantics 10.1.
#[test]
fn a_forbidden_import_is_named() {
    let found = refused(&component("wants-clock"), tight());
    assert_eq!(
        found,
        Refused::ForbiddenImport("wasi:clocks/wall-clock@0.2.6".into())
    );
}

#[test]
fn only_exports_of_the_contract_are_allowed() {
    let found = refused(&component("unknown-export"), tight());
    assert_eq!(
        found,
        Refused::UnknownExport("quipu:domain/reactor@0.1.0".into())
    );
    let found = refused(&component("wrong-type"), tight());
    assert!(matches!(found, Refused::WrongType(_)), "{found}");
    let found = refused(&component("no-manifest"), tight());
    assert_eq!(
        found,
        Refused::MissingExport("quipu:domain/manifest".into())
    );
    let found = refused(&component("only-manifest"), tight());
    assert!(matches!(found, Refused::MissingExport(_)), "{found}");
}

#[test]
fn bytes_that_are_not_a_component_are_refused() {
    for bytes in [
        &b""[..],
        b"\0asm",
        b"(component)",
        b"\0asm\x01\0\0\0",
        b"\0asm\x02\0\0\0",
    ] {
        let found = refused(bytes, tight());
        assert!(matches!(found, Refused::NotAComponent(_)), "{found}");
    }
    let whole = component("skeleton");
    for length in [8, 9, whole.len() / 2, whole.len() - 1] {
        let found = runtime(tight()).load(&whole[..length]).unwrap_err();
        let is_expected = matches!(
            found,
            Refused::DoesNotCompile(_) | Refused::MissingExport(_)
        );
        assert!(is_expected, "{length} bytes: {found}");
    }
}

#[test]
fn the_size_of_a_component_is_bounded() {
    let bytes = component("skeleton");
    let limits = |component_bytes_max| Limits {
        component_bytes_max,
        ..tight()
    };
    assert!(runtime(limits(bytes.len())).load(&bytes).is_ok());
    let found = runtime(limits(bytes.len() - 1)).load(&bytes).unwrap_err();
    let (found_bytes, max) = (bytes.len(), bytes.len() - 1);
    assert_eq!(
        found,
        Refused::TooLarge {
            found: found_bytes,
            max
        }
    );
}

#[test]
fn the_limits_apply_before_the_manifest_is_read() {
    for (name, kind) in [
        ("silent", FaultKind::OutOfFuel),
        ("endless-start", FaultKind::OutOfFuel),
    ] {
        let Refused::Fault(found) = refused(&component(name), tight()) else {
            panic!("{name}: expected a fault");
        };
        assert_eq!((found.kind, &*found.component), (kind, "?"), "{name}");
    }
    let less = Limits {
        memory_bytes_max: 1 << 20,
        ..tight()
    };
    let Refused::Fault(found) = refused(&component("large-memory"), less) else {
        panic!("expected a fault");
    };
    assert_eq!(found.kind, FaultKind::OutOfMemory);
}

#[test]
fn equal_bytes_are_one_module() {
    let runtime = runtime(tight());
    let bytes = component("skeleton");
    let first = runtime.load(&bytes).unwrap();
    let second = runtime.load(&bytes).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn equal_bytes_that_arrive_together_are_compiled_once() {
    let (runtime, bytes) = (runtime(tight()), component("skeleton"));
    let modules: Vec<_> = std::thread::scope(|scope| {
        let load = || runtime.load(&bytes).unwrap();
        let loading: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        let loading = loading.into_iter();
        loading.map(|thread| thread.join().unwrap()).collect()
    });
    let is_first = |module| Arc::ptr_eq(&modules[0], module);
    assert!(modules.iter().all(is_first));
}

fn cached(dir: &std::path::Path) -> Runtime {
    Runtime::new(Options {
        limits: tight(),
        cache_dir: Some(dir.to_owned()),
        ..Options::default()
    })
    .unwrap()
}

/// The only compiled component in a folder.
fn compiled(dir: &std::path::Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    paths
        .find(|path| path.extension().unwrap() == "compiled")
        .unwrap()
}

#[test]
fn a_compiled_component_is_reused_and_a_damaged_one_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = component("skeleton");
    let decides = || {
        let (mut instance, aggregate) = open(&cached(dir.path()).load(&bytes).unwrap());
        decide(&mut instance, &aggregate).unwrap();
    };
    decides();
    let path = compiled(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let made = std::fs::metadata(&path).unwrap().modified().unwrap();
    decides();
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), made);

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], b""] {
        // As a different file, because the old one may still be mapped.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, damaged).unwrap();
        decides();
        assert_eq!(std::fs::read(&path).unwrap().len(), whole.len());
    }
    std::fs::remove_file(path.with_extension("blake3")).unwrap();
    decides();
    assert!(path.with_extension("blake3").exists());
}

#[test]
fn a_refused_component_leaves_nothing_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = cached(dir.path());
    for name in ["wants-clock", "no-manifest"] {
        runtime.load(&component(name)).unwrap_err();
        let files = std::fs::read_dir(dir.path()).unwrap();
        let names = files.map(|file| file.unwrap().path());
        let compiled: Vec<_> = names
            .filter(|path| path.extension().is_some_and(|it| it == "compiled"))
            .collect();
        assert!(compiled.is_empty(), "{name}: {compiled:?}");
    }
    runtime.load(&component("skeleton")).unwrap();
    assert!(compiled(dir.path()).exists());
}
