import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** A POST as a stock client makes it, which asks for HTTP/2 by Upgrade: java Post.java URL API_KEY KEY BODY */
public class Post {
    public static void main(String[] arguments) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("Authorization", "Bearer " + arguments[1])
            .header("Idempotency-Key", arguments[2])
            .header("Content-Type", "application/json")
            .POST(arguments[3].isEmpty() ? BodyPublishers.noBody() : BodyPublishers.ofString(arguments[3]))
            .build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.println(answer.statusCode());
        System.out.println(answer.body());
    }
}
