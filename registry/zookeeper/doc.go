// Package zookeeper reads and writes what Dubbo keeps in ZooKeeper, for the time
// in which applications leave it for Kubernetes: Read and Compare tell what the
// two registries hold of an application and whether its consumers can go over,
// and a Bridge writes what Kubernetes knows for consumers that can look in
// ZooKeeper only.
//
// Dubbo keeps providers there in two ways. By application, below /services, a node
// for each address of an instance, whose content is JSON in the form of Curator's
// service discovery. By interface, below /dubbo/INTERFACE/providers, a node for
// each interface of each instance, whose name is the provider's URL, encoded.
// Dubbo Java and dubbo-go write both; consumers older than Dubbo 3 read the second
// alone.
package zookeeper
