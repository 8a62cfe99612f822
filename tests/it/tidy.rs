//! House rules that a compiler does not know: crate arrows, file sizes, what text may say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Crate → crates of ours it may depend on. `ARCHITECTURE.md` draws the same picture.
const ARROWS: &[(&str, &[&str])] = &[
    ("glia-protocol", &[]),
    ("glia-peer", &["glia-protocol"]),
    ("glia-experts", &["glia-protocol", "glia-peer"]),
    ("glia-router", &["glia-protocol", "glia-peer", "glia-chain-client"]),
    ("glia-chain-rules", &[]),
    ("glia-chain-pallet", &["glia-chain-rules"]),
    ("glia-chain-runtime", &["glia-chain-pallet"]),
    ("glia-chain-devnode", &["glia-chain-runtime"]),
    ("glia-chain-client", &[]),
    ("glia-testnet", &["glia-protocol", "glia-peer", "glia-experts", "glia-router", "glia-chain-client"]),
];

#[test]
fn crates_depend_only_along_the_drawn_arrows() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for package in &metadata.packages {
        if package.name.as_str() == "glia" {
            continue;
        }
        let may = allowed.get(package.name.as_str()).unwrap_or_else(|| panic!("draw arrows for {}", package.name));
        for dependency in &package.dependencies {
            let ours = dependency.name.starts_with("glia");
            if ours && dependency.kind != DependencyKind::Development {
                assert!(
                    may.contains(&dependency.name.as_str()),
                    "new arrow {} → {}: draw it in ARCHITECTURE.md and here, or remove it",
                    package.name,
                    dependency.name
                );
            }
        }
    }
}

fn tracked_files(endings: &[&str]) -> Vec<PathBuf> {
    fn walk(dir: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "data" && name != "vectors" {
                    walk(&path, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), endings, &mut found);
    assert!(found.len() > 10, "the walk found no sources");
    found
}

#[test]
fn source_files_hold_one_concept() {
    for file in tracked_files(&[".rs"]) {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines: is it one concept?", file.display());
        assert_ne!(file.file_name().unwrap(), "mod.rs", "{}: use foo.rs + foo/", file.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let banned = [["todo", "!("].concat(), ["unimpl", "emented!("].concat(), ["FIX", "ME"].concat()];
    for file in tracked_files(&[".rs", ".md", ".toml"]) {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in &banned {
            assert!(!text.contains(word.as_str()), "{} contains {word}", file.display());
        }
    }
}

#[test]
fn documents_name_no_machine_paths() {
    let homes = [["/ho", "me/"].concat(), ["/ro", "ot/"].concat(), ["/wo", "rk/"].concat()];
    for file in tracked_files(&[".rs", ".md", ".toml", ".sh"]) {
        let text = std::fs::read_to_string(&file).unwrap();
        for home in &homes {
            assert!(!text.contains(home.as_str()), "{} names {home}", file.display());
        }
    }
}

#[test]
fn every_crate_says_what_it_is() {
    for (name, _) in ARROWS {
        let folder = name.trim_start_matches("glia-").replacen("chain-", "chain/", 1);
        let text = std::fs::read_to_string(root().join(folder).join("src/lib.rs")).unwrap();
        assert!(text.starts_with("//! `"), "{name}: lib.rs begins with one sentence saying what the crate is");
    }
}
