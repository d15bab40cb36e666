package org.example.restock;

import java.io.IOException;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.example.shop.CatalogueService;
import org.example.shop.InventoryService;

/**
 * Looks after the shop's stock: a Dubbo consumer of the inventory, and of a catalogue. What it does
 * and what came of it can be asked over HTTP.
 *
 * <p>Settings are environment variables: POD_NAMESPACE, ADMIN_PORT, RATE (reservations each second),
 * CATALOGUE (the application that offers the catalogue), DUBBO_PROTOCOL (of the catalogue).
 */
public final class Restock {
    private Restock() {}

    public static void main(String[] args) throws IOException {
        ApplicationConfig application = new ApplicationConfig("restock");
        application.setQosEnable(false);
        RegistryConfig registry = new RegistryConfig(
                "kubernetes://DEFAULT_MASTER_HOST?registry-type=service&trustCerts=true&namespace="
                        + setting("POD_NAMESPACE", "shop"));

        ReferenceConfig<InventoryService> inventory = reference(InventoryService.class, "inventory");
        String provider = setting("CATALOGUE", "catalogue");
        ReferenceConfig<CatalogueService> catalogue = reference(CatalogueService.class, provider);
        ReferenceConfig<CatalogueService> outlet = reference(CatalogueService.class, provider);
        outlet.setGroup("outlet");
        outlet.setVersion("2.0.0");

        DubboBootstrap bootstrap = DubboBootstrap.getInstance()
                .application(application)
                .registry(registry)
                .reference(inventory)
                .reference(catalogue)
                .reference(outlet)
                .start();

        String instance = setting("HOSTNAME", "restock");
        Tally tally = new Tally(instance);
        Rounds rounds = new Rounds(inventory.get(), tally);
        rounds.start(Integer.parseInt(setting("RATE", "10")));
        new Admin(tally, inventory.get(), new Shelf(catalogue.get(), outlet.get()))
                .start(Integer.parseInt(setting("ADMIN_PORT", "8081")));
        // Dubbo's own hook ends Dubbo; this one ends the calls first.
        Runtime.getRuntime().addShutdownHook(new Thread(rounds::stop));
        bootstrap.await();
    }

    private static <T> ReferenceConfig<T> reference(Class<T> type, String application) {
        ReferenceConfig<T> reference = new ReferenceConfig<>();
        reference.setInterface(type);
        // Kubernetes has no place for which application offers an interface.
        reference.setProvidedBy(application);
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
