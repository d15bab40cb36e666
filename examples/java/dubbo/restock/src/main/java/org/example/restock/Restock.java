package org.example.restock;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.example.shop.InventoryService;

/**
 * Looks after the shop's stock: a Dubbo consumer of the inventory, and of a catalogue. What it does
 * and what came of it can be asked over HTTP.
 *
 * <p>Settings are environment variables: POD_NAMESPACE, ADMIN_PORT; APPLICATION, its name; RATE,
 * reservations each second; INVENTORY_PROTOCOLS (dubbo, tri), which take turns; CATALOGUE, the
 * application that offers the catalogue, and CATALOGUE_PROTOCOL.
 */
public final class Restock {
    private Restock() {}

    public static void main(String[] args) throws IOException {
        ApplicationConfig application = new ApplicationConfig(setting("APPLICATION", "restock"));
        RegistryConfig registry = new RegistryConfig(
                "kubernetes://DEFAULT_MASTER_HOST?registry-type=service&trustCerts=true&namespace="
                        + setting("POD_NAMESPACE", "shop"));

        DubboBootstrap bootstrap = DubboBootstrap.getInstance().application(application).registry(registry);
        List<ReferenceConfig<InventoryService>> inventories = new ArrayList<>();
        for (String protocol : setting("INVENTORY_PROTOCOLS", "dubbo").split(",")) {
            ReferenceConfig<InventoryService> inventory = reference(InventoryService.class, "inventory", protocol);
            inventories.add(inventory);
            bootstrap.reference(inventory);
        }
        bootstrap.start();

        String instance = setting("HOSTNAME", "restock");
        Tally tally = new Tally(instance);
        Rounds rounds = new Rounds(inventories.stream().map(ReferenceConfig::get).toList(), tally);
        rounds.start(Integer.parseInt(setting("RATE", "10")));
        Shelves shelves = new Shelves(setting("CATALOGUE", "catalogue"), setting("CATALOGUE_PROTOCOL", "dubbo"));
        new Admin(tally, inventories.get(0).get(), shelves)
                .start(Integer.parseInt(setting("ADMIN_PORT", "8081")));
        // Dubbo's own hook ends Dubbo; this one ends the calls first.
        Runtime.getRuntime().addShutdownHook(new Thread(rounds::stop));
        bootstrap.await();
    }

    static <T> ReferenceConfig<T> reference(Class<T> type, String application, String protocol) {
        ReferenceConfig<T> reference = new ReferenceConfig<>();
        reference.setInterface(type);
        // Kubernetes has no place for which application offers an interface.
        reference.setProvidedBy(application);
        reference.setProtocol(protocol);
        reference.setCheck(false);
        reference.setTimeout(3000);
        // A reservation that may have arrived is not made again.
        reference.setRetries(0);
        return reference;
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
