// Package zookeeper keeps ZooKeeper as a second registry of a dubbo-go application
// while it moves to Kubernetes:
//
//	ins, err := dubbo.NewInstance(
//		dubbo.WithName("inventory"),
//		dubbokubernetes.WithKubernetes(),
//		dubbozookeeper.WithZooKeeper("zk.example:2181"), // until nobody looks there any more
//	)
//
// It stands in the place of dubbo.WithRegistry(registry.WithZookeeper(), …), and what
// it writes and reads is the same: dubbo-go's own registry does it. What it adds is
// that neither registry can hold up the other. With dubbo-go alone, a provider whose
// ZooKeeper does not answer does not start at all, nor does one register in
// Kubernetes before it has registered there; a name that no longer resolves ends the
// process; and a consumer that looks by interface hears of no change any more once
// ZooKeeper has lost its session.
//
// With this package a provider starts all the same. It goes on trying to register in
// ZooKeeper and says so in the log, and takes what it wrote back when it ends.
//
// Which of the two is called is dubbo-go's to say, which prefers the registry that
// has registry.WithPreferred. While that one has nobody to call, the other is.
//
// docs/guides/leaving-zookeeper.md tells how to move.
package zookeeper
