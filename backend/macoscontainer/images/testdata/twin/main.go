// Command twin stands for a linux build of this program: it is one of this
// module, small and without a library.
package main

func main() {}
