// Package bundle is the format of a capture of live servers: what each endpoint
// answered, when, how long it took and what went wrong, with the files around
// it. It reads, writes, verifies and redacts bundles and touches no server.
//
//	collect → Create → folder | .tar.zst | .tar.gz → Open → Bundle → Body(probe)
//
// A bundle of ours holds
//
//	manifest.json          every file with size and SHA-256 (package artifact)
//	bundle.json            [Manifest]: who, when, what, with which settings, what was redacted
//	SUMMARY.txt            for people without the tool
//	targets/ID/target.json one [Target], with its probes
//	targets/ID/…           bodies as they came, after redaction
//	host/…  logs/…         what the machine said that collected
//
// Open reads the folders of the Python toolkit for the same purpose, too
// (sgl-project/sglang PR 24250 at 321298da75, 2026-05-02): metadata.json, one
// text or wrapper a path, *.error.json and SUMMARY.txt. A file named
// expected.json is never part of a bundle.
//
// What is damaged is left out and named in Warnings; only a place that holds no
// bundle at all is an error.
package bundle
