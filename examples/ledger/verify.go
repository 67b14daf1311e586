// Verify checks a .tlog-proof with Go's own transparency log packages, and with nothing of Harmonia's.
//
//	go run verify.go VERIFIER-KEY FILE.tlog-proof
//
// It prints the entry that the proof is of. The packages are golang.org/x/mod/sumdb/note and golang.org/x/mod/sumdb/tlog;
// the format is https://c2sp.org/tlog-proof.
package main

import (
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: verify VERIFIER-KEY FILE.tlog-proof")
	}
	verifier, err := note.NewVerifier(os.Args[1])
	check(err)
	file, err := os.ReadFile(os.Args[2])
	check(err)
	head, checkpoint, found := strings.Cut(string(file), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		log.Fatal("this is not a proof")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}

	// The checkpoint is signed by the ledger, and says of which ledger, how large it is, and its root.
	signed, err := note.Open([]byte(checkpoint), note.VerifierList(verifier))
	check(err)
	text := strings.Split(signed.Text, "\n")
	if len(text) < 4 || text[0] != verifier.Name() {
		log.Fatal("the checkpoint is not of that ledger")
	}
	size, err := strconv.ParseInt(text[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(text[2])
	check(err)

	// The entry is in the tree of that root.
	check(tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)))
	fmt.Println(string(entry))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
