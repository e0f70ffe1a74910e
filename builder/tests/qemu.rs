//! Device trees, checked with the compiler that everybody uses.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use rubus::qemu::dtb;

/// The parts of a Pi 4 that matter here.
const SOURCE: &str = r#"
/dts-v1/;
/memreserve/ 0x0 0x1000;
/ {
    model = "Test";
    #address-cells = <1>;
    soc {
        clock@7ef00000 { #clock-cells = <1>; };
        interrupt-controller@7ef00100 { reg = <0x7ef00100 0x30>; };
        i2c@7ef04500 { status = "okay"; };
        mmc@7e300000 {
            compatible = "brcm,bcm2835-mmc";
            mmc-pwrseq = <1>;
            non-removable;
            pinctrl-0 = <2>;
            pinctrl-names = "default";
            wifi@1 { reg = <1>; };
        };
    };
    emmc2bus { mmc@7e340000 { status = "okay"; }; };
};
"#;

/// Sends text or bytes through `dtc`.
fn dtc(from: &str, to: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("dtc")
        .args(["-q", "-I", from, "-O", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot run dtc; install the Debian package device-tree-compiler");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn a_changed_device_tree_is_one_for_the_compiler_too() {
    let patched = dtb::for_raspi4b(&dtc("dts", "dtb", SOURCE.as_bytes())).unwrap();
    let text = String::from_utf8(dtc("dtb", "dts", &patched)).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "/memreserve/ 0x0000000000000000 0x0000000000001000;",
        "model = \"Test\";",
        "clock@7ef00000 { #clock-cells = <0x01>; status = \"disabled\"; };",
        "interrupt-controller@7ef00100 { reg = <0x7ef00100 0x30>; status = \"disabled\"; };",
        "i2c@7ef04500 { status = \"disabled\"; };",
        "mmc@7e300000 { compatible = \"brcm,bcm2835-mmc\"; };",
        "mmc@7e340000 { status = \"disabled\"; };",
    ] {
        assert!(words.contains(part), "{part} is not in {words}");
    }
}

#[test]
fn a_tree_that_needs_no_change_stays_the_same() {
    let source = b"/dts-v1/; / { a = <1 2>; b { c = \"text\"; }; };";
    let compiled = dtc("dts", "dtb", source);
    let written = dtb::for_raspi4b(&compiled).unwrap();
    assert_eq!(dtc("dtb", "dts", &written), dtc("dtb", "dts", &compiled));
}
