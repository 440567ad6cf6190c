//! U-Boot's formats beside the tools that define them: overlays as `fdtoverlay` applies them, images of `mkimage`.

use std::path::{Path, PathBuf};
use std::process::Command;

use boot::load::device_tree::Tree;
use boot::load::overlay::{Overlay, merged};
use boot::load::{fit, gzip, uimage};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode};
use dtoolkit::{Node as _, Property as _};
use tests::payload;

/// A directory for one test's files.
struct Bench(PathBuf);

impl Bench {
    /// When these programs are there; else the test is skipped.
    fn new(test: &str, programs: &[&str]) -> Option<Self> {
        let missing = programs.iter().find(|program| {
            let found = Command::new(program).arg("-V").output();
            found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        });
        if let Some(program) = missing {
            qemu::skip(test, format!("{program} is not installed (cargo xtask setup)"));
            return None;
        }
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&directory).unwrap();
        Some(Self(directory))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    /// Runs a command line in the directory; what it says when it fails.
    fn run(&self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap());
        let output = command.args(words).current_dir(&self.0).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The version of `fdtoverlay`'s libfdt.
    fn libfdt(&self) -> [u32; 3] {
        let output = Command::new("fdtoverlay").arg("-V").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.rsplit(' ').next().unwrap_or_default();
        let mut numbers = version
            .trim()
            .split('.')
            .map(|number| number.parse().unwrap_or(0));
        [(); 3].map(|()| numbers.next().unwrap_or(0))
    }

    /// Compiles a source with labels.
    fn compile(&self, name: &str, source: &str) -> Vec<u8> {
        self.write(&format!("{name}.dts"), source);
        let line = format!("dtc -q -@ -I dts -O dtb -o {name}.dtb {name}.dts");
        self.run(&line).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.read(&format!("{name}.dtb"))
    }
}

/// Shaped like a Pi's tree, made smaller.
const BASE: &str = r#"/dts-v1/;
/memreserve/ 0x0 0x1000;
/ {
    compatible = "raspberrypi,4-model-b", "brcm,bcm2711";
    model = "Raspberry Pi 4 Model B";
    #address-cells = <2>;
    #size-cells = <1>;
    aliases { i2c1 = &i2c1; serial0 = &uart0; };
    chosen { bootargs = "quiet"; };
    clocks {
        clk_osc: clk-osc { compatible = "fixed-clock"; #clock-cells = <0>; };
    };
    soc: soc {
        #address-cells = <1>;
        #size-cells = <1>;
        ranges = <0x7e000000 0x0 0xfe000000 0x01800000>;
        gpio: gpio@7e200000 {
            reg = <0x7e200000 0xb4>;
            gpio-controller;
            #gpio-cells = <2>;
            interrupt-controller;
            #interrupt-cells = <2>;
            i2c1_pins: i2c1 { brcm,pins = <2 3>; brcm,function = <4>; };
            uart0_pins: uart0_pins { brcm,pins = <>; };
        };
        uart0: serial@7e201000 { reg = <0x7e201000 0x200>; status = "okay"; };
        spi0: spi@7e204000 {
            reg = <0x7e204000 0x200>;
            #address-cells = <1>;
            #size-cells = <0>;
            cs-gpios = <&gpio 8 1>, <&gpio 7 1>;
            spidev0: spidev@0 { reg = <0>; };
        };
        i2c1: i2c@7e804000 {
            reg = <0x7e804000 0x1000>;
            #address-cells = <1>;
            #size-cells = <0>;
            pinctrl-0 = <&i2c1_pins>;
            status = "disabled";
        };
        sound: sound { status = "disabled"; };
    };
    leds: leds { compatible = "gpio-leds"; led_act: led-act { gpios = <&gpio 42 0>; }; };
    memory@0 { device_type = "memory"; reg = <0 0 0x3b400000>; };
};
"#;

/// Overlays written after the shapes of the Pi's.
const OVERLAYS: &[(&str, &str)] = &[
    (
        // A device on a bus, with parameters for the Pi's own loader and a fragment that only it would wake.
        "i2c-rtc",
        r#"/dts-v1/; /plugin/;
/ {
    compatible = "brcm,bcm2835";
    fragment@0 {
        target = <&i2c1>;
        __overlay__ {
            #address-cells = <1>;
            #size-cells = <0>;
            status = "okay";
            rtc: rtc@68 { compatible = "maxim,ds3231"; reg = <0x68>; };
        };
    };
    fragment@1 { target = <&soc>; __dormant__ { wakeup; }; };
    __overrides__ {
        addr = <&rtc>, "reg:0";
        wakeup = <0>, "+1", <&rtc>, "wakeup-source?";
    };
};"#,
    ),
    (
        // New nodes at the root, which refer to each other and to the base, at offsets that are no multiples of four.
        "audio",
        r#"/dts-v1/; /plugin/;
/ {
    compatible = "brcm,bcm2835";
    fragment@0 {
        target-path = "/";
        __overlay__ {
            osc: osc { compatible = "fixed-clock"; #clock-cells = <0>; clock-frequency = <22579200>; };
            codec: codec { clocks = <&osc>, <&clk_osc>; mixed = "abc", [01 02], <&gpio 5 0 &osc>; };
        };
    };
    fragment@1 {
        target = <&sound>;
        __overlay__ {
            status = "okay";
            codecs = <&codec &i2c1>;
            link { cpu = <&soc>; };
        };
    };
};"#,
    ),
    (
        // A node that an earlier fragment added is the target of a later one, and labels of an overlay before are used.
        "chain",
        r#"/dts-v1/; /plugin/;
/ {
    fragment@0 {
        target-path = "/soc";
        __overlay__ { mux: mux@1 { #address-cells = <1>; #size-cells = <0>; parent = <&rtc>; }; };
    };
    fragment@1 { target = <&mux>; __overlay__ { port@0 { reg = <0>; }; }; };
    fragment@2 { target-path = "/soc/mux@1"; __overlay__ { port@1 { reg = <1>; }; }; };
};"#,
    ),
    (
        // Values replaced, a node found without its unit address, the short way to write fragments.
        "changes",
        r#"/dts-v1/; /plugin/;
&uart0 { status = "disabled"; pinctrl-0 = <&uart0_pins>; };
&{/chosen} { marker; };
&spidev0 { status = "disabled"; };
&led_act { gpios = <&gpio 4 1>; };
&{/} { leds { power: led-pwr { gpios = <&gpio 3 0>; }; }; soc { serial { inside; }; }; };
"#,
    ),
    (
        // Nothing but flags and an empty node.
        "flags",
        r#"/dts-v1/; /plugin/;
/ {
    fragment@0 { target-path = "i2c1"; __overlay__ { flag; empty {}; }; };
    fragment@5 { target-path = "/clocks"; __overlay__ { clk_osc2: clk-osc2 {}; }; };
};"#,
    ),
];

fn model(dtb: &[u8]) -> DeviceTree {
    DeviceTree::from_fdt(&Fdt::new(dtb).unwrap())
}

/// The base with these overlays, as we apply them.
fn ours(base: &[u8], overlays: &[&[u8]]) -> DeviceTree {
    let overlays: Vec<Overlay<'_>> = overlays
        .iter()
        .map(|bytes| Overlay { name: "o", bytes })
        .collect();
    merged(&Tree::check(base).unwrap(), &overlays)
}

/// Says where two trees differ; the order of nodes and properties means nothing.
fn same(one: &DeviceTreeNode, other: &DeviceTreeNode, path: &str) {
    let names = |node: &DeviceTreeNode| {
        let mut names: Vec<String> = node.properties().map(|p| p.name().to_owned()).collect();
        names.extend(node.children().map(|child| format!("{}/", child.name())));
        names.sort();
        names
    };
    assert_eq!(names(one), names(other), "{path}");
    for property in one.properties() {
        let theirs = other.property(property.name()).unwrap();
        assert_eq!(property.value(), theirs.value(), "{path}:{}", property.name());
    }
    for child in one.children() {
        let theirs = other
            .children()
            .find(|other| other.name() == child.name())
            .unwrap();
        same(child, theirs, &format!("{path}/{}", child.name()));
    }
}

#[test]
fn overlays_are_applied_as_fdtoverlay_does() {
    let Some(bench) = Bench::new("fdtoverlay", &["dtc", "fdtoverlay"]) else {
        return;
    };
    let base = bench.compile("base", BASE);
    let compiled: Vec<Vec<u8>> = OVERLAYS
        .iter()
        .map(|(name, source)| bench.compile(name, source))
        .collect();
    // Each alone that can be alone, then all of them, then in another order.
    let orders: &[&[usize]] = &[
        &[0],
        &[1],
        &[3],
        &[4],
        &[0, 2],
        &[0, 1, 2, 3, 4],
        &[4, 3, 1, 0, 2],
    ];
    for order in orders {
        let files: Vec<String> = order
            .iter()
            .map(|at| format!("{}.dtb", OVERLAYS[*at].0))
            .collect();
        bench
            .run(&format!(
                "fdtoverlay -i base.dtb -o result.dtb {}",
                files.join(" ")
            ))
            .unwrap_or_else(|error| panic!("{order:?}: {error}"));
        let theirs = model(&bench.read("result.dtb"));
        let overlays: Vec<&[u8]> = order.iter().map(|at| compiled[*at].as_slice()).collect();
        let ours = ours(&base, &overlays);
        same(&ours.root, &theirs.root, "");
        assert_eq!(ours.memory_reservations, theirs.memory_reservations);
        assert_ne!(ours, model(&base));
    }
}

#[test]
fn what_fdtoverlay_refuses_is_left_out() {
    let Some(bench) = Bench::new("fdtoverlay-refuses", &["dtc", "fdtoverlay"]) else {
        return;
    };
    let base = bench.compile("base", BASE);
    bench.write("plain.dts", BASE);
    bench.run("dtc -q -I dts -O dtb -o plain.dtb plain.dts").unwrap();
    let plain = bench.read("plain.dtb");
    let overlay = |body: &str| bench.compile("overlay", &format!("/dts-v1/; /plugin/;\n{body}"));
    let label = overlay("&nobody { x; };");
    assert!(
        bench
            .run("fdtoverlay -i base.dtb -o result.dtb overlay.dtb")
            .is_err()
    );
    assert_eq!(ours(&base, &[&label]), model(&base));
    let path = overlay("&{/nowhere} { x; };");
    assert!(
        bench
            .run("fdtoverlay -i base.dtb -o result.dtb overlay.dtb")
            .is_err()
    );
    assert_eq!(ours(&base, &[&path]), model(&base));
    let known = overlay("&uart0 { x; };");
    assert!(
        bench
            .run("fdtoverlay -i plain.dtb -o result.dtb overlay.dtb")
            .is_err()
    );
    assert_eq!(ours(&plain, &[&known]), model(&plain));
    assert_ne!(ours(&base, &[&known]), model(&base));
}

#[test]
fn a_fragment_for_what_a_later_one_adds_comes_out_as_if_it_stood_behind() {
    let Some(bench) = Bench::new("fdtoverlay-later", &["dtc", "fdtoverlay"]) else {
        return;
    };
    let base = bench.compile("base", BASE);
    let turned =
        "fragment@0 { target = <&camera>; __overlay__ { rotation = <180>; clocks = <&clk_osc>; }; };";
    let camera = "fragment@1 { target = <&i2c1>; __overlay__ { camera: camera@1a { reg = <0x1a>; rotation = <0>; }; }; };";
    let overlay = |name: &str, fragments: &[&str]| {
        let fragments = fragments.concat();
        bench.compile(name, &format!("/dts-v1/; /plugin/;\n/ {{ {fragments} }};"))
    };
    // What the Pi's own loader applies and libfdt refuses.
    let before = overlay("overlay", &[turned, camera]);
    assert!(
        bench
            .run("fdtoverlay -i base.dtb -o result.dtb overlay.dtb")
            .is_err()
    );
    overlay("behind", &[camera, turned]);
    bench
        .run("fdtoverlay -i base.dtb -o result.dtb behind.dtb")
        .unwrap();
    let theirs = model(&bench.read("result.dtb"));
    same(&ours(&base, &[&before]).root, &theirs.root, "");
}

#[test]
fn an_overlay_with_as_much_in_it_as_the_largest_of_the_pis_is_applied() {
    let Some(bench) = Bench::new("fdtoverlay-large", &["dtc", "fdtoverlay"]) else {
        return;
    };
    let base = bench.compile("base", BASE);
    let fragment = |n: usize| {
        format!(
            "fragment@{n} {{ target = <&i2c1>; __overlay__ {{ #address-cells = <1>; #size-cells = <0>;
             x{n}: expander@{n:x} {{ compatible = \"semtech,sx1509q\"; reg = <{n}>; gpio-controller; #gpio-cells = <2>;
             #interrupt-cells = <2>; interrupts = <25 2>; interrupt-parent = <&gpio>; status = \"okay\"; }}; }}; }};"
        )
    };
    let fragments: String = (0..110).map(fragment).collect();
    let overlay = bench.compile("overlay", &format!("/dts-v1/; /plugin/;\n/ {{ {fragments} }};"));
    bench
        .run("fdtoverlay -i base.dtb -o result.dtb overlay.dtb")
        .unwrap();
    let theirs = model(&bench.read("result.dtb"));
    same(&ours(&base, &[&overlay]).root, &theirs.root, "");
}

/// What libfdt before version 1.7.1 refuses, and the Pi's own loader applies, with the reason.
const EXCEPTIONS: [(&str, &str); 1] = [(
    "pi4-pwm.dtbo",
    "the label on its fragment gives the base's node another phandle, by which the target is not found again",
)];

#[test]
fn debians_overlays_on_debians_trees_come_out_as_fdtoverlay_has_them() {
    let name = "debian-overlays";
    let Some(bench) = Bench::new(name, &["fdtoverlay"]) else {
        return;
    };
    let directory = qemu::payload::overlays().unwrap();
    if !directory.is_dir() {
        return qemu::skip(
            name,
            format!("{} is not there (cargo xtask setup)", directory.display()),
        );
    }
    // `cargo xtask campaign overlays` names more of them.
    let more = std::env::var_os("BRAMBLE_OVERLAYS").map(PathBuf::from);
    let overlays: Vec<PathBuf> = [Some(directory.clone()), more.clone()]
        .into_iter()
        .flatten()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dtbo"))
        .collect();
    let old = bench.libfdt() < [1, 7, 1];
    let mut applied = 0;
    for tree in qemu::payload::LABELLED_TREES {
        let base = std::fs::read(directory.join(tree)).unwrap();
        bench.write("base.dtb", &base);
        for path in &overlays {
            let overlay = std::fs::read(path).unwrap();
            bench.write("overlay.dtbo", &overlay);
            let ours = ours(&base, &[&overlay]);
            match bench.run("fdtoverlay -i base.dtb -o result.dtb overlay.dtbo") {
                Ok(()) => {
                    let what = format!("{} on {tree}: ", path.display());
                    same(&ours.root, &labelled(&bench.read("result.dtb")).root, &what);
                    applied += 1;
                }
                Err(error) => {
                    let is_known = old && EXCEPTIONS.iter().any(|(name, _)| path.ends_with(name));
                    let is_left_out = ours == labelled(&base);
                    let is_more = more.as_ref().is_some_and(|more| path.starts_with(more));
                    if is_more && !is_left_out {
                        println!(
                            "{} on {tree}: applied, though libfdt refuses it: {error}",
                            path.display()
                        );
                    }
                    assert!(
                        is_left_out || is_known || is_more,
                        "{} on {tree}: {error}",
                        path.display()
                    );
                }
            }
        }
    }
    println!(
        "{} overlays, {applied} times applied as fdtoverlay does",
        overlays.len()
    );
    assert!(applied >= 4, "{applied}");
}

/// The nodes of a tree whose labels are longer than `Fdt::new` takes.
fn labelled(dtb: &[u8]) -> DeviceTree {
    DeviceTree::from_fdt(&Tree::check(dtb).unwrap().fdt())
}

#[test]
fn a_label_on_a_fragment_leaves_the_phandle_that_others_know() {
    let Some(bench) = Bench::new("fdtoverlay-label", &["dtc"]) else {
        return;
    };
    let base = bench.compile("base", BASE);
    // As most of the Pi's are written. Before version 1.7.1 libfdt gave the node a new phandle, and cs-gpios of the
    // base led nowhere.
    let overlay = bench.compile(
        "overlay",
        "/dts-v1/; /plugin/;
/ {
    fragment@0 { target = <&gpio>; frag: __overlay__ { pins: pins {}; }; };
    fragment@1 { target = <&spi0>; __overlay__ { cs-gpios = <&frag 9 1>, <&pins 1 1>; }; };
};",
    );
    let (before, after) = (model(&base), ours(&base, &[&overlay]));
    let value = |tree: &DeviceTree, path: &str, name: &str| {
        let node = tree.find_node(path).unwrap();
        node.property(name).unwrap().value().to_vec()
    };
    let gpio = value(&before, "/soc/gpio@7e200000", "phandle");
    assert_eq!(value(&after, "/soc/gpio@7e200000", "phandle"), gpio);
    let select = value(&after, "/soc/spi@7e204000", "cs-gpios");
    assert_eq!(select[..4], gpio);
    assert_eq!(
        select[12..16],
        value(&after, "/soc/gpio@7e200000/pins", "phandle")
    );
}

/// A FIT source with every hash that mkimage knows, a packed kernel, two configurations and an overlay.
const SOURCE: &str = r#"/dts-v1/;
/ {
    description = "a Pi's";
    #address-cells = <1>;
    images {
        kernel {
            description = "Linux";
            data = /incbin/("Image.gz");
            type = "kernel"; arch = "arm64"; os = "linux"; compression = "gzip";
            load = <0x80000>; entry = <0x80000>;
            hash-1 { algo = "crc32"; };
            hash-2 { algo = "sha256"; };
        };
        fdt-1 {
            data = /incbin/("base.dtb");
            type = "flat_dt"; arch = "arm64"; compression = "none";
            hash { algo = "sha1"; };
        };
        fdt-2 {
            data = /incbin/("overlay.dtb");
            type = "flat_dt"; arch = "arm64"; compression = "none";
            hash-1 { algo = "md5"; };
        };
        ramdisk-1 {
            data = /incbin/("initrd");
            type = "ramdisk"; arch = "arm64"; os = "linux"; compression = "none";
            hash-1 { algo = "sha512"; };
            hash-2 { algo = "sha384"; };
        };
    };
    configurations {
        default = "pi-4";
        pi-4 { kernel = "kernel"; fdt = "fdt-1", "fdt-2"; ramdisk = "ramdisk-1"; };
        bare { kernel = "kernel"; };
        clock { fdt = "fdt-2"; };
    };
};
"#;

#[test]
fn fit_images_of_mkimage_open() {
    let Some(bench) = Bench::new("mkimage-fit", &["mkimage", "dtc"]) else {
        return;
    };
    let kernel = payload::gzip(&payload::image(100_000));
    let (tree, overlay, initrd) = (
        payload::device_tree(),
        payload::overlay("x"),
        payload::body(50_001, 3),
    );
    for (name, bytes) in [
        ("Image.gz", &kernel),
        ("base.dtb", &tree),
        ("overlay.dtb", &overlay),
        ("initrd", &initrd),
    ] {
        bench.write(name, bytes);
    }
    bench.write("image.its", SOURCE);
    // Inside the tree, behind it, and behind it at fixed positions.
    for arguments in ["", "-E ", "-E -p 0x3000 "] {
        bench
            .run(&format!("mkimage {arguments}-f image.its image.itb"))
            .unwrap();
        let file = bench.read("image.itb");
        let contents =
            fit::open(&file, None, None, &mut |_| {}).unwrap_or_else(|error| panic!("{arguments}: {error}"));
        assert_eq!(file[contents.kernel], kernel);
        assert_eq!(file[contents.device_tree.unwrap()], tree);
        let overlays: Vec<&[u8]> = contents.overlays.into_iter().map(|range| &file[range]).collect();
        assert_eq!(overlays, [overlay.as_slice()]);
        assert_eq!(file[contents.ramdisk.unwrap()], initrd);
        let more = fit::open(&file, Some("pi-4#clock"), None, &mut |_| {}).unwrap();
        assert_eq!(more.overlays.len(), 2);
        let bare = fit::open(&file, Some("bare"), None, &mut |_| {}).unwrap();
        assert!(bare.device_tree.is_none() && bare.ramdisk.is_none() && bare.overlays.is_empty());
        // Each part by itself is covered by its hash.
        for (part, name) in [
            (&tree, "sha1"),
            (&overlay, "md5"),
            (&initrd, "sha512"),
            (&kernel, "crc32"),
        ] {
            let at = file
                .windows(part.len())
                .position(|bytes| bytes == part.as_slice())
                .unwrap();
            let mut changed = file.clone();
            changed[at + part.len() - 1] ^= 1;
            let error = fit::open(&changed, None, None, &mut |_| {})
                .unwrap_err()
                .to_string();
            assert!(error.contains(&format!("the {name} of ")), "{error}");
        }
    }
}

#[test]
fn kernels_packed_in_every_way_of_gzip_are_unpacked() {
    let Some(bench) = Bench::new("gzip", &["gzip"]) else {
        return;
    };
    // Code that no packer makes smaller, text, and long zeros, as kernels have.
    let mut kernel = payload::image(300_000);
    kernel.extend((0..40_000).flat_map(|n: u32| format!("symbol_{n} ").into_bytes()));
    kernel.resize(12 << 20, 0);
    kernel.extend(payload::body(50_001, 3));
    bench.write("Image", &kernel);
    let mut room = vec![0; kernel.len() + 1];
    for options in ["-1", "-9", "--rsyncable", "-1 --rsyncable"] {
        bench.run(&format!("gzip -kf {options} Image")).unwrap();
        let mut file = bench.read("Image.gz");
        file.extend(b"~Module signature appended~");
        assert_eq!(
            gzip::unpack(&file, &mut room, &mut |_| {}),
            Ok(kernel.len()),
            "{options}"
        );
        assert!(room.starts_with(&kernel));
    }
}

#[test]
fn uimages_of_mkimage_are_unwrapped() {
    let Some(bench) = Bench::new("mkimage-legacy", &["mkimage"]) else {
        return;
    };
    let initrd = payload::gzip(&payload::body(50_001, 3));
    bench.write("initrd", &initrd);
    let wrapped = |facts: &str| {
        bench
            .run(&format!("mkimage {facts} -n uInitrd -d initrd uInitrd"))
            .unwrap();
        bench.read("uInitrd")
    };
    let file = wrapped("-A arm64 -O linux -T ramdisk -C gzip");
    assert_eq!(
        file[uimage::contents(&file, uimage::ImageType::Ramdisk, &mut |_| {}).unwrap()],
        initrd
    );
    let file = wrapped("-A arm64 -O linux -T kernel -C gzip -a 0x80000 -e 0x80000");
    assert_eq!(
        file[uimage::contents(&file, uimage::ImageType::Kernel, &mut |_| {}).unwrap()],
        initrd
    );
    let error = |facts| {
        uimage::contents(&wrapped(facts), uimage::ImageType::Ramdisk, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("-A arm -O linux -T ramdisk -C none"),
        "is a uImage for 32-bit ARM, not arm64"
    );
    assert_eq!(
        error("-A arm64 -O linux -T script -C none"),
        "is a uImage with a script, which is not supported, not with an initrd"
    );
    assert_eq!(
        error("-A arm64 -O linux -T multi -C none"),
        "is a uImage with several files (type multi), which are not supported, not with an initrd"
    );
}
