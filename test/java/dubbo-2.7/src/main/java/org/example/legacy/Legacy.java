package org.example.legacy;

import java.util.Map;
import java.util.TreeMap;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.example.Stock;

/**
 * Asks the stock that it finds in ZooKeeper, at the address that is its argument, and tells once a
 * second who answered. It ends when it can read no more.
 */
public final class Legacy {
    private Legacy() {}

    public static void main(String[] args) throws Exception {
        ApplicationConfig application = new ApplicationConfig("legacy");
        application.setQosEnable(false);
        ReferenceConfig<Stock> reference = new ReferenceConfig<>();
        reference.setApplication(application);
        reference.setRegistry(new RegistryConfig("zookeeper://" + args[0]));
        reference.setInterface(Stock.class);
        reference.setVersion("1.0.0");
        reference.setCheck(false);
        reference.setTimeout(3000);
        reference.setRetries(0);
        reference.setLoadbalance("roundrobin");
        Stock stock = reference.get();

        Thread orphan = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // until whoever started it is gone
                }
            } catch (java.io.IOException e) {
                // the same
            }
            Runtime.getRuntime().halt(0);
        });
        orphan.setDaemon(true);
        orphan.start();

        boolean began = false;
        long ok = 0;
        long failed = 0;
        String first = "";
        Map<String, Long> servedBy = new TreeMap<>();
        for (int n = 1; ; n++) {
            try {
                servedBy.merge(stock.Greet("you").split(" ")[0], 1L, Long::sum);
                ok++;
                began = true;
            } catch (RuntimeException e) {
                if (began) { // there may be nobody yet
                    failed++;
                    first = first.isEmpty() ? e.toString() : first;
                }
            }
            if (n % 20 == 0) {
                System.out.println("tally " + ok + " " + failed + " " + String.join(",", servedBy.keySet())
                        + " " + first.replace('\n', ' '));
                servedBy.clear();
            }
            Thread.sleep(50);
        }
    }
}
