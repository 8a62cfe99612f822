//! `glia eval`: what it refuses at once, and reports rendered without measuring.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn glia(args: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glia")).args(args).env("GLIA_DATA_DIR", data).output().unwrap()
}

fn report() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testnet/src/study/snapshots/report.json")
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let out = file.join("out");
    let output = glia(&["eval", "--quick", "--out", out.to_str().unwrap()], &dir.path().join("data"));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot make the folder"), "{output:?}");
    assert!(!dir.path().join("data").exists(), "nothing was trained");
}

#[test]
fn an_unknown_roster_or_attack_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    for (flags, says) in
        [(["--rosters", "zipf"], "transforms"), (["--stress", "bribe"], "collude"), (["--seeds", "0"], "1 to 50")]
    {
        let output = glia(&["eval", flags[0], flags[1], "--out", out], dir.path());
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{flags:?}: {output:?}");
    }
}

#[test]
fn a_report_is_rendered_again_without_a_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let (report, out) = (report(), dir.path().join("out"));
    let output = glia(&["eval", "--render", report.to_str().unwrap(), "--out", out.to_str().unwrap()], dir.path());
    assert!(output.status.success(), "{output:?}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("Verdict"));
    assert!(out.join("report.json").is_file());
    assert!(String::from_utf8_lossy(&output.stdout).contains("collective, k = 4"));

    let table = glia(&["eval", "--render", report.to_str().unwrap(), "--markdown"], dir.path());
    assert!(String::from_utf8_lossy(&table.stdout).starts_with("| right, % [95 %] | dirichlet | iid |"));
    let broken = dir.path().join("broken.json");
    std::fs::write(&broken, b"{\"schema\": 1}").unwrap();
    let refused = glia(&["eval", "--render", broken.to_str().unwrap(), "--markdown"], dir.path());
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("damaged"), "{refused:?}");
}
