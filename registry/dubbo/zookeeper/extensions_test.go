package zookeeper

import _ "github.com/weirmesh/weir/registry/dubbo/dubbotest" // what the tests need of dubbo-go
