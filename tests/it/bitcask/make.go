// Makes the stores beside this file as the reference does: bitcask with the reference's options, client id -> bcrypt hash.
// They are committed; make them again only to add one:
//
//	cd tests/it/bitcask && go run -mod=mod make.go && chmod -R u=rwX,go=rX . && rm go.sum
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"git.mills.io/prologic/bitcask"
	"golang.org/x/crypto/bcrypt"
)

// The key of a client, which the tests know as well.
func key(id string) []byte {
	return []byte(fmt.Sprintf("the key of %s, long enough for Go", id))
}

func hash(key []byte) []byte {
	hash, err := bcrypt.GenerateFromPassword(key, bcrypt.DefaultCost)
	must(err)
	return hash
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func open(path string, more ...bitcask.Option) *bitcask.Bitcask {
	must(os.RemoveAll(path))
	options := append([]bitcask.Option{
		bitcask.WithDirFileModeBeforeUmask(0700),
		bitcask.WithFileFileModeBeforeUmask(0600),
	}, more...)
	db, err := bitcask.Open(path, options...)
	must(err)
	return db
}

func put(db *bitcask.Bitcask, id string, hash []byte) {
	must(db.Put([]byte(id), hash))
	must(db.Sync())
}

func remove(db *bitcask.Bitcask, id string) {
	must(db.Delete([]byte(id)))
	must(db.Sync())
}

// What every store but the empty one holds in the end: ann, bob and cid, and dan no longer.
func fill(db *bitcask.Bitcask) {
	put(db, "ann", hash([]byte("an older key of ann, long enough for Go")))
	put(db, "bob", hash(key("bob")))
	put(db, "dan", hash(key("dan")))
	put(db, "ann", hash(key("ann")))
	remove(db, "dan")
	put(db, "cid", hash(key("cid")))
}

func main() {
	must(open("empty").Close())

	db := open("several")
	fill(db)
	must(db.Close())

	// A data file is full with its second entry.
	db = open("files", bitcask.WithMaxDatafileSize(150))
	fill(db)
	must(db.Close())

	db = open("merged", bitcask.WithMaxDatafileSize(150))
	fill(db)
	must(db.Merge())
	must(db.Close())

	// A process that was killed: what is on disk then, and half of an entry behind it.
	db = open("live")
	fill(db)
	must(os.RemoveAll("killed"))
	must(db.Backup("killed"))
	must(os.WriteFile("killed/lock", nil, 0600))
	must(db.Close())
	must(os.RemoveAll("live"))
	file := filepath.Join("killed", "000000000.data")
	whole, err := os.ReadFile(file)
	must(err)
	must(os.WriteFile(file, append(whole, whole[:40]...), 0600))
}
